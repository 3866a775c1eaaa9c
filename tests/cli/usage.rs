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
