//! Go templates over JSON values: the part of `text/template` that `--format` is used with.
//!
//! Fields are found by their JSON name, exactly or without regard to case, because users write the name of the Go field
//! (`.ID`) as often as the JSON one (`.Id`). Loops over objects go by sorted key, as Go's do.
mod eval;
mod functions;
mod lex;
mod parse;
mod print;

use parse::Node;
use serde_json::Value;

/// A parsed template.
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// What is wrong with a template, or with what it asks for.
#[derive(Debug, thiserror::Error)]
#[error("template parsing error: template: :1: {0}")]
pub(crate) struct TemplateError(pub(super) String);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Where it is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::parse(lex::lex(text)?)? })
    }
    /// The text it makes of a value.
    ///
    /// # Errors
    /// Fields that do not exist, functions that do not fit.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        eval::run(&self.nodes, value, false)
    }
    /// The text it makes of a table's headers: functions leave them as they are.
    ///
    /// # Errors
    /// Fields that do not exist.
    pub(crate) fn headers(&self, headers: &Value) -> Result<String, TemplateError> {
        eval::run(&self.nodes, headers, true)
    }
}

#[cfg(test)]
mod tests {
    use super::Template;
    use serde_json::json;

    #[test]
    fn templates_give_what_go_gives() {
        let value = json!({
            "Id": "abc", "Name": "/web", "Config": {"Labels": {"com.x": "1", "k": "v"}, "Env": ["A=b", "C=d"], "Cmd": null},
            "State": {"Running": true, "Pid": 42}, "Ports": [{"P": 80, "T": "tcp"}, {"P": 443, "T": "udp"}], "Empty": [],
            "Size": 1.5, "Networks": {"b": {"IP": "1.1.1.1"}, "a": {"IP": "2.2.2.2"}}, "Time": "2023"
        });
        let table = [
            ("plain", "plain"),
            ("{{.Id}} {{.ID}} {{.Name}}", "abc abc /web"),
            ("{{.State.Running}} {{.State.Pid}} {{.Size}}", "true 42 1.5"),
            ("{{json .State}}", r#"{"Pid":42,"Running":true}"#),
            ("{{.State | json}}", r#"{"Pid":42,"Running":true}"#),
            (r#"{{index .Config.Labels "com.x"}}"#, "1"),
            (r#"{{(index .Ports 0).P}} {{(index .Networks "a").IP}}"#, "80 2.2.2.2"),
            ("{{.Config.Labels.k}} {{.Config.Labels.none}}", "v <no value>"),
            ("{{.Config.Labels}} {{.Config.Env}}", "map[com.x:1 k:v] [A=b C=d]"),
            ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=b><C=d>"),
            ("{{range $k, $v := .Networks}}{{$k}}={{$v.IP}} {{end}}", "a=2.2.2.2 b=1.1.1.1 "),
            ("{{range $i, $p := .Ports}}{{if $i}},{{end}}{{$p.P}}/{{.T}}{{end}}", "80/tcp,443/udp"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if eq .State.Pid 42}}yes{{else if true}}no{{end}}", "yes"),
            ("{{if and .State.Running (gt .State.Pid 50)}}a{{else if eq .Id \"abc\" \"x\"}}b{{end}}", "b"),
            ("{{with index .Ports 1}}{{.P}} {{$.Id}}{{end}}", "443 abc"),
            ("{{with .Config.Cmd}}x{{else}}y{{end}}", "y"),
            ("{{len .Networks}} {{len .Name}}", "2 4"),
            ("a {{- \" b \" -}} c", "a b c"),
            ("{{/* no */}}x{{- /* no */ -}} y", "xy"),
            ("{{$x := .Id}}{{$x}}{{$x = \"z\"}}{{$x}}", "abcz"),
            (
                "{{printf \"%s-%d %v %q %5.1f|%-4s|%t%%\" .Id .State.Pid .Config.Env \"q\" .Size \"l\" true}}",
                "abc-42 [A=b C=d] \"q\"   1.5|l   |true%",
            ),
            (
                "{{join .Config.Env \",\"}} {{upper .Id}} {{title .Id}} {{split .Name \"e\"}} {{slice .Time 0 2}}",
                "A=b,C=d ABC Abc [/w b] 20",
            ),
            ("{{.Name | printf \"%s!\"}} {{truncate .Id 2}} {{pad .Id 1 2}}", "/web! ab  abc  "),
            (
                "{{not .State.Running}} {{or \"\" \"b\"}} {{and 1 0}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{ge 1 2}}",
                "false b 0 true true true false",
            ),
            ("{{range .Ports}}{{if eq .P 443}}{{break}}{{end}}{{.P}}{{end}}", "80"),
            ("{{range .Ports}}{{if eq .P 80}}{{continue}}{{end}}{{.P}}{{end}}", "443"),
            ("{{println .Id 1}}", "abc 1\n"),
            ("{{`raw`}}{{'a'}}{{nil | json}}", "raw97null"),
            (
                "{{.}}",
                "map[Config:map[Cmd:<nil> Env:[A=b C=d] Labels:map[com.x:1 k:v]] Empty:[] Id:abc Name:/web Networks:map[a:map[IP:2.2.2.2] b:map[IP:1.1.1.1]] Ports:[map[P:80 T:tcp] map[P:443 T:udp]] Size:1.5 State:map[Pid:42 Running:true] Time:2023]",
            ),
        ];
        for (text, wanted) in table {
            match Template::parse(text).and_then(|t| t.render(&value)) {
                Ok(got) => assert_eq!(got, wanted, "{text}"),
                Err(e) => panic!("{text}: {e}"),
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        let table = [
            "{{.Nope}}",
            "{{",
            "{{end}}",
            "{{if .A}}",
            "{{nofunc .A}}",
            "{{index .A}}",
            "{{.A.B.C}}",
            "{{range 1}}{{end}}",
            "{{\"open}}",
            "{{(.A}}",
            "{{$nope}}",
            "{{else}}",
            "{{index .L 9}}",
            "{{len 1}}",
            "{{lt 1 \"a\"}}",
        ];
        for text in table {
            let value = json!({"A": {"B": 1}, "L": [1]});
            let result = Template::parse(text).and_then(|t| t.render(&value));
            assert!(result.is_err(), "{text} gave {result:?}");
        }
    }
}
