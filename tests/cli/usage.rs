//! The command line itself: what is no usage ends with 2, what asks for help does not.

use crate::program::{cambist, say};

#[test]
fn wrong_usage_ends_with_2_and_says_how_it_is_done() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["fly"],
        &["run", "--colour"],
        &["run", "gateway.yaml"],
        &["check", "a.yaml", "--config", "b.yaml"],
        &["check", "a.yaml", "b.yaml"],
        &["demo", "--port", "orders"],
        &["demo", "--once", "token"],
        &["healthcheck", "--address", "localhost"],
    ];
    for args in wrong {
        let said = say(cambist().args(args));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?} {said:?}");
        assert!(said.err.contains("--help") || said.err.contains("Usage: cambist"), "{args:?} {said:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["exchange", "--help"],
        &["healthcheck", "--help"],
        &["demo", "token", "--help"],
    ] {
        let said = say(cambist().args(args));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
        assert!(said.out.contains("Usage: cambist"), "{args:?}");
    }
    assert_eq!(say(cambist().arg("--version")).out, format!("cambist {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_gets_a_script_that_knows_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = say(cambist().args(["completions", shell]));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shell}");
        for verb in ["run", "check", "explain", "exchange", "demo", "healthcheck", "schema", "init", "completions"] {
            assert!(said.out.contains(verb), "{shell}: {verb}");
        }
    }
    assert_eq!(say(cambist().args(["completions", "dos"])).code, 2);
}

/// What docs/cli.md tells of verbs is what there is.
#[test]
fn the_page_names_every_verb_and_no_other() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    let help = say(cambist().arg("--help")).out;
    let verbs = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let verbs: Vec<&str> =
        verbs.filter(|l| !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next()).filter(|v| *v != "help").collect();
    let told = page.lines().filter_map(|l| l.strip_prefix("| `")).filter_map(|l| l.split([' ', '`']).next());
    let mut told: Vec<&str> = told.filter(|word| !["hit", "renew", "in_flight", "refused", "miss", "unknown"].contains(word)).collect();
    let mut verbs = verbs;
    verbs.sort_unstable();
    told.sort_unstable();
    assert!(verbs.len() > 8 && verbs == told, "{verbs:?} {told:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    for colours in [None, Some("1")] {
        let mut command = cambist();
        command.env_remove("NO_COLOR").args(["check", "/nowhere"]);
        if let Some(off) = colours {
            command.env("NO_COLOR", off);
        }
        let said = say(&mut command);
        assert!(!said.err.contains('\u{1b}') && said.err.contains("error"), "{said:?}");
    }
}

/// Of the verbs that end by themselves. What they say as data is their own tests' matter.
#[test]
fn every_verb_that_tells_something_tells_it_as_json_too() {
    let json = |args: &[&str]| {
        let said = say(cambist().args(args).args(["-o", "json"]));
        let told: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{args:?} {said:?}"));
        (said.code, told)
    };
    let (code, told) = json(&["completions", "bash"]);
    assert!(code == 0 && told["shell"] == "bash" && told["script"].as_str().unwrap().contains("cambist"));
    assert_eq!((json(&["schema"]).0, json(&["schema"]).1), (0, serde_json::from_str(&say(cambist().arg("schema")).out).unwrap()));
    assert_eq!(json(&["check", "/nowhere"]).0, 1);
    assert_eq!(json(&["healthcheck", "--address", "127.0.0.1:1"]).0, 1);
    for verb in ["check", "exchange", "explain", "schema", "init", "completions", "healthcheck", "demo"] {
        let said = say(cambist().args([verb, "--help"]));
        assert!(said.code == 0 && said.out.contains("--output"), "{verb}");
    }
}
