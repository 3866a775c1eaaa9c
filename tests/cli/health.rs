//! `healthcheck`, for containers without a shell: its exit code is the answer.

use crate::kit::{ROUTES, World};
use crate::program::{Program, cambist, file, free_port, say};
use std::process::Command;

fn healthcheck() -> Command {
    let mut command = cambist();
    command.arg("healthcheck");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_whether_the_gateway_is_ready() {
    let world = World::new().await;
    world.iam.down().await;
    let port = free_port();
    let text = world.yaml(ROUTES, "").replace("metrics: { address: 127.0.0.1:0 }", &format!("metrics: {{ address: \"0.0.0.0:{port}\" }}"));
    let config = file(&text);
    let said = say(healthcheck().arg("--config").arg(&config.path));
    assert!(said.code == 1 && said.err.contains(&format!("nothing answers at 127.0.0.1:{port}")), "{said:?}");

    let mut program = Program::run(&text);
    let at = format!("127.0.0.1:{}", program.metrics().await.port());
    let said = say(healthcheck().arg("--config").arg(&config.path));
    assert!(said.code == 1 && said.err.contains("not ready"), "{said:?}");
    let said = say(healthcheck().args(["-o", "json", "--address", &at]));
    assert!(said.code == 1 && said.err.is_empty() && said.out.starts_with("{\"ok\":false,"), "{said:?}");
    assert_eq!(say(healthcheck().arg("--live").arg("--config").arg(&config.path)).code, 0);

    world.iam.up().unwrap();
    program.until("healthcheck says so", async || say(healthcheck().args(["--address", &at])).code == 0).await;
    for command in [
        healthcheck().arg("--config").arg(&config.path),
        healthcheck().arg(&config.path),
        healthcheck().env("CAMBIST_CONFIG", &config.path),
    ] {
        let said = say(command);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "ready\n", ""));
    }
}

#[test]
fn it_needs_nothing_of_the_file_but_where_to_ask() {
    let port = free_port();
    let asked = |text: &str| say(healthcheck().arg(&file(text).path));
    let secrets =
        "issuers: { main: { url: 1, client_secret: { file: /no/such/secret } } }\nroutes: { a: { audience: \"${X}\" } }\nbogus: 1\n";
    let said = asked(&format!("{secrets}metrics: {{ address: 127.0.0.1:{port} }}\n"));
    assert!(said.code == 1 && said.err.contains(&format!("nothing answers at 127.0.0.1:{port}")), "{said:?}");
    assert!(asked(secrets).err.contains(" 127.0.0.1:9464") || asked(secrets).code == 0, "the address by default");
    for (wrong, code) in
        [("metrics: { address: here }", "C023"), ("metrics: { adress: 127.0.0.1:1 }", "C012"), ("metrics: [", "C002"), ("a", "C013")]
    {
        let said = asked(&format!("{wrong}\n"));
        assert!(said.code == 1 && said.err.contains(code) && !said.err.contains("answer"), "{wrong}: {said:?}");
    }
}

#[test]
fn it_says_what_is_wrong_with_itself() {
    let said = say(healthcheck().args(["--config", "/nowhere.yaml"]));
    assert!(said.code == 1 && said.err.contains("/nowhere.yaml"), "{said:?}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = say(healthcheck().args(["--address", &silent.local_addr().unwrap().to_string()]));
    assert!(
        said.code == 1 && said.err.contains("did not answer within 2s") && !said.err.contains("os error"),
        "one who accepts and says nothing: {said:?}"
    );
}
