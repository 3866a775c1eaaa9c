//! `init`: what it writes is a configuration that `check` takes; what it has to say besides goes to stderr; and it writes no secret.

use crate::kit::World;
use crate::program::{Said, cambist, file, say};
use crate::said::as_expected;
use cambist::demo::fetch::Connection;

fn init(issuer: &str, more: &[&str]) -> Said {
    say(cambist().args(["init", "--issuer", issuer]).args(more))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_good() {
    let world = World::new().await;
    let issuer = world.iam.issuer().to_owned();
    let said = init(&issuer, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("cambist check --online"), "{}", said.err);
    let written = file(&said.out);
    let checked = say(cambist().env("CAMBIST_CLIENT_SECRET", "gateway-secret").arg("check").arg("--deny-warnings").arg(&written.path));
    assert!(checked.code == 0 && checked.err.is_empty(), "{checked:?}\n{}", said.out);
    let online = say(cambist().env("CAMBIST_CLIENT_SECRET", "gateway-secret").args(["check", "--online"]).arg(&written.path));
    assert_eq!(online.code, 0, "{online:?}");
    as_expected("init.txt", &said, &[(&issuer, "ISSUER")]);
    assert!(Connection::open(world.iam.address()).await.is_ok());

    let secret = file("gateway-secret\n");
    let path = secret.path.display().to_string();
    let said = init(&issuer, &["--client-id", "a: b", "--client-secret-file", &path]);
    assert!(said.out.contains("client_id: \"a: b\"") && said.out.contains(&format!("file: {path}")), "{said:?}");
    assert_eq!(say(cambist().arg("check").arg(&file(&said.out).path)).code, 0);
}

#[test]
fn what_cannot_be_discovered_is_told_with_a_cure() {
    for (issuer, words) in [
        ("http://127.0.0.1:1/realms/demo", "cannot be reached"),
        ("http://iam.example.com", "allow_http"),
        ("iam.example.com", "http"),
        ("", "url"),
    ] {
        let said = init(issuer, &[]);
        assert!(said.code == 1 && said.out.is_empty() && said.err.contains(words), "{issuer}: {said:?}");
    }
    assert_eq!(say(cambist().arg("init")).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_data_it_is_the_same_text() {
    let world = World::new().await;
    let issuer = world.iam.issuer().to_owned();
    let (text, said) = (init(&issuer, &[]), init(&issuer, &["-o", "json"]));
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((told["issuer"].as_str(), told["yaml"].as_str()), (Some(&*issuer), Some(&*text.out)));
}
