//! Commands run in a container.
use super::shape::{StrSlice, shapes};

shapes! {
    /// Body of `POST /containers/{id}/exec`.
    ExecConfig {
        user: String = "User";
        privileged: bool = "Privileged";
        tty: bool = "Tty";
        console_size: Option<(u16, u16)> = "ConsoleSize" omitempty;
        attach_stdin: bool = "AttachStdin";
        attach_stderr: bool = "AttachStderr";
        attach_stdout: bool = "AttachStdout";
        detach: bool = "Detach";
        detach_keys: String = "DetachKeys";
        env: Option<Vec<String>> = "Env";
        working_dir: String = "WorkingDir";
        cmd: StrSlice = "Cmd";
    }
    /// Body of `POST /exec/{id}/start`. `console_size` is (height, width).
    ExecStart {
        detach: bool = "Detach";
        tty: bool = "Tty";
        console_size: Option<(u16, u16)> = "ConsoleSize" omitempty;
    }
    /// `GET /exec/{id}/json`.
    ExecInspect {
        id: String = "ID";
        running: bool = "Running";
        exit_code: Option<i64> = "ExitCode";
        process_config: ProcessConfig = "ProcessConfig";
        open_stdin: bool = "OpenStdin";
        open_stderr: bool = "OpenStderr";
        open_stdout: bool = "OpenStdout";
        can_remove: bool = "CanRemove";
        container_id: String = "ContainerID";
        detach_keys: String = "DetachKeys";
        pid: i64 = "Pid";
    }
    /// What is run.
    ProcessConfig {
        tty: bool = "tty";
        entrypoint: String = "entrypoint";
        arguments: Vec<String> = "arguments";
        privileged: Option<bool> = "privileged" omitempty;
        user: String = "user" omitempty;
    }
}
