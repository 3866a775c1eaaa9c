//! `check`: exit codes, and where it takes its file from.

use crate::program::{cambist, file, place, say};

const GOOD: &str = "\
issuers:
  main: { url: \"https://iam.example.com/realms/main\", client_id: gateway, client_secret: { env: SECRET_OF_THE_TEST } }
routes:
  orders: { match: { path: /orders }, upstream: \"http://orders:8080\", audience: orders-api }
";

fn check() -> std::process::Command {
    let mut command = cambist();
    command.arg("check");
    command
}

#[test]
fn a_good_file_is_ok_wherever_it_is_named() {
    let good = file(GOOD);
    for command in [
        check().arg(&good.path),
        check().arg("--config").arg(&good.path),
        check().env("CAMBIST_CONFIG", &good.path),
        // Named twice: what is on the command line wins over the environment.
        check().arg(&good.path).env("CAMBIST_CONFIG", "/nowhere.yaml"),
        check().arg("--config").arg(&good.path).env("CAMBIST_CONFIG", "/nowhere.yaml"),
        check().arg("--deny-warnings").arg(&good.path),
    ] {
        let said = say(command);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        assert_eq!(said.out, format!("{}: ok (1 route, 1 issuer, 0 warnings)\n", good.path.display()));
    }
}

#[test]
fn every_mistake_of_a_bad_file_is_told_with_its_place() {
    let text = GOOD.replace("audience:", "audiance:").replace("\"https:", "\"http:").replace("{ env: SECRET_OF_THE_TEST }", "c4nary");
    let bad = file(&text);
    let said = say(check().arg(&bad.path));
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    for part in [
        place(&bad.path, &text, "\"http://iam"),
        place(&bad.path, &text, "audiance"),
        "did you mean `audience`".to_owned(),
        "allow_http".to_owned(),
    ] {
        assert!(said.err.contains(&part), "{part}\n{}", said.err);
    }
    assert!(!said.err.contains("c4nary"), "{}", said.err);
}

#[test]
fn warnings_fail_only_who_wants_them_to() {
    let inline = file(&GOOD.replace("{ env: SECRET_OF_THE_TEST }", "c4nary"));
    let said = say(check().arg(&inline.path));
    assert_eq!(said.code, 0);
    assert!(said.out.contains("1 warning)") && said.err.contains("warn [C036]"), "{said:?}");
    assert_eq!(say(check().arg("--deny-warnings").arg(&inline.path)).code, 1);
}

#[test]
fn a_file_or_a_secret_that_is_not_there_is_told() {
    let said = say(check().arg("/nowhere/gateway.yaml"));
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("/nowhere/gateway.yaml") && said.err.contains("there is no such file"), "{said:?}");
    let said = say(check().arg("/"));
    assert!(said.code == 1 && said.err.contains("it is a directory"), "{said:?}");
    let good = file(GOOD);
    let said = say(check().arg(&good.path).env_remove("SECRET_OF_THE_TEST"));
    assert!(said.code == 1 && said.err.contains("`SECRET_OF_THE_TEST` is not set"), "{said:?}");
}
