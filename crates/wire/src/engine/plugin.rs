//! Managed plugins: kept and described. (None is ever run by this engine.)
use super::shape::shapes;
use serde_json::Value;

shapes! {
    /// A plugin.
    Plugin {
        id: String = "Id" omitempty;
        name: String = "Name";
        enabled: bool = "Enabled";
        settings: PluginSettings = "Settings";
        plugin_reference: String = "PluginReference" omitempty;
        config: PluginConfig = "Config";
    }
    /// What its user has chosen.
    PluginSettings {
        mounts: Vec<PluginMount> = "Mounts";
        env: Vec<String> = "Env";
        args: Vec<String> = "Args";
        devices: Vec<PluginDevice> = "Devices";
    }
    /// What its author says.
    PluginConfig {
        args: PluginArgs = "Args";
        description: String = "Description";
        docker_version: String = "DockerVersion" omitempty;
        documentation: String = "Documentation";
        entrypoint: Option<Vec<String>> = "Entrypoint";
        env: Option<Vec<PluginEnv>> = "Env";
        interface: PluginInterface = "Interface";
        ipc_host: bool = "IpcHost";
        linux: PluginLinux = "Linux";
        mounts: Option<Vec<PluginMount>> = "Mounts";
        network: PluginNetwork = "Network";
        pid_host: bool = "PidHost";
        propagated_mount: String = "PropagatedMount";
        user: PluginUser = "User" omitempty;
        work_dir: String = "WorkDir";
        rootfs: Option<Value> = "rootfs" omitempty;
    }
    /// Its arguments.
    PluginArgs {
        description: String = "Description";
        name: String = "Name";
        settable: Option<Vec<String>> = "Settable";
        value: Option<Vec<String>> = "Value";
    }
    /// A variable.
    PluginEnv {
        description: String = "Description";
        name: String = "Name";
        settable: Option<Vec<String>> = "Settable";
        value: Option<String> = "Value";
    }
    /// What it offers, and where.
    PluginInterface {
        protocol_scheme: String = "ProtocolScheme" omitempty;
        socket: String = "Socket";
        types: Vec<String> = "Types";
    }
    /// What it asks of the kernel.
    PluginLinux {
        allow_all_devices: bool = "AllowAllDevices";
        capabilities: Option<Vec<String>> = "Capabilities";
        devices: Option<Vec<PluginDevice>> = "Devices";
    }
    /// A device.
    PluginDevice {
        description: String = "Description";
        name: String = "Name";
        path: Option<String> = "Path";
        settable: Option<Vec<String>> = "Settable";
    }
    /// A mount.
    PluginMount {
        description: String = "Description";
        destination: String = "Destination";
        name: String = "Name";
        options: Option<Vec<String>> = "Options";
        settable: Option<Vec<String>> = "Settable";
        source: Option<String> = "Source";
        typ: String = "Type";
    }
    /// `host`, `bridge`, `none`.
    PluginNetwork { typ: String = "Type"; }
    /// As whom it runs.
    PluginUser { gid: u32 = "GID" omitempty; uid: u32 = "UID" omitempty; }
    /// Something that a plugin wants to be allowed.
    PluginPrivilege { description: String = "Description"; name: String = "Name"; value: Vec<String> = "Value"; }
}
