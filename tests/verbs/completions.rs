//! Completions, run by the shells themselves.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::pty::Terminal;
use super::{Folder, complaint, verb};

/// Writes the completions of a shell into the folder, under this name.
fn script(folder: &Folder, shell: &str, name: &str) -> String {
    let output = verb("completions").arg(shell).output().unwrap();
    assert!(output.status.success(), "{shell}: {}", complaint(&output));
    let path = folder.path(name);
    fs::write(&path, output.stdout).unwrap();
    path.display().to_string()
}

fn words(output: &str) -> Vec<&str> {
    output.split_whitespace().collect()
}

#[test]
fn bash_completes_verbs_options_and_what_an_option_takes() {
    let folder = Folder::new();
    let script = script(&folder, "bash", "bramblegate");
    let complete = |line: &str| {
        // Like readline calls it: the words, the index of the current one, and that word.
        let call =
            "source \"$1\"; COMP_LINE=$2; COMP_POINT=${#COMP_LINE}; read -ra COMP_WORDS <<<\"$2\"
            [[ $2 != *' ' ]] || COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            complete -p bramblegate >&2
            _bramblegate bramblegate \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
            printf '%s\\n' \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["--norc", "-c", call, "bash", &script, line])
            .output()
            .expect("bash");
        assert!(complaint(&output).contains("-F _bramblegate"), "{}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(words(&complete("bramblegate sta")), ["status"]);
    assert_eq!(words(&complete("bramblegate nodes dr")), ["drain"]);
    assert_eq!(words(&complete("bramblegate --color al")), ["always"]);
    let options = complete("bramblegate status --");
    for option in ["--json", "--watch", "--config", "--color"] {
        assert!(words(&options).contains(&option), "{option} is not in {options}");
    }
    let verbs = complete("bramblegate ");
    assert!(words(&verbs).contains(&"doctor"), "{verbs}");
    for hidden in ["panel-message", "completions", "stop"] {
        assert!(!words(&verbs).contains(&hidden), "{hidden} is offered: {verbs}");
    }
}

#[test]
fn fish_completes_verbs_and_options() {
    let folder = Folder::new();
    let script = script(&folder, "fish", "bramblegate.fish");
    let complete = |line: &str| {
        let call = "source $argv[1]; complete -C $argv[2]";
        let output = Command::new("fish")
            .args(["--no-config", "-c", call, &script, line])
            .env("HOME", &folder.0)
            .output()
            .expect("fish (package fish) is needed to run this test");
        assert!(output.status.success(), "{}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let status = complete("bramblegate sta");
    assert!(status.starts_with("status\t"), "{status}");
    let options = complete("bramblegate status --js");
    assert!(options.starts_with("--json\t"), "{options}");
}

#[test]
fn zsh_completes_verbs_and_options() {
    assert!(Path::new("/usr/bin/zsh").exists(), "zsh (package zsh) is needed to run this test");
    let folder = Folder::new();
    script(&folder, "zsh", "_bramblegate");
    let home = folder.0.display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", "dumb"), ("PS1", "> ")];
    let mut zsh = Terminal::start("zsh", &["-f", "-i"], &variables);
    zsh.keys(&format!(
        "fpath=({home} $fpath); autoload -Uz compinit; compinit -D -u; print re''ady\n"
    ));
    zsh.until("ready\n");
    zsh.keys("bramblegate nodes dra\t");
    zsh.until("drain");
    // Ctrl-U: the line is empty again.
    zsh.keys("\u{15}bramblegate status --jso\t");
    zsh.until("--json");
    zsh.keys("\u{15}exit\n");
    zsh.end();
}
