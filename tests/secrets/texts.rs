//! What is said about configurations with secrets in them, right and wrong, and what prints itself: reports, `Debug` of settings,
//! of tokens and of the rooms, and the verbs of the real program with a secret in its environment.

use crate::canary::Aviary;
use crate::stage::{Given, Planted};
use assert_cmd::Command;
use cambist::config;
use cambist::token::{AccessToken, Secret, SubjectToken};
use http::HeaderValue;

/// Wrong in many ways, with INLINE in places where a secret was meant to be or got to by mistake.
const WRONG: [&str; 15] = [
    "admin: { token: INLINE, no_such_key: 1 }",
    "admin: { token: { env: INLINE } }",
    "admin: { token: \"INLINE and a blank\" }",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: INLINE, no_such_key: 1 } }",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: { inline: INLINE } } }",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: { env: INLINE } } }",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: [INLINE] } }",
    "issuers: { main: { url: \"https://user:INLINE@iam.example\", client_id: gateway, client_secret: INLINE } }",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: INLINE, client_secret: INLINE } }",
    "issuers:\n  main:\n    client_secret: INLINE\n   url: x\n",
    "issuers:\n  main:\n    client_secret: \"INLINE\n    url: x\n",
    "issuers:\n\tmain: { client_secret: INLINE }\n",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: INLINE",
    "issuers: { main: { url: \"https://iam.example\", client_id: gateway, client_secret: !tag INLINE } }",
    "issuers: { main: { url: 7, client_id: gateway, client_secret: { file: /run/secrets/iam, env: REALM_SECRET } } }",
];

pub async fn reports_and_prints(aviary: &Aviary) {
    // Nothing that ends a plain scalar, and nothing that could be the name of a variable: that one would be named.
    let inline = "C4n-inline-of-a-bad-file-7f3a";
    aviary.plant("a secret in a file that is refused", inline);
    for text in WRONG {
        let text = text.replace("INLINE", inline);
        let report = config::read_with(&text, "wrong.yaml", &Planted).expect_err(&text);
        aviary.saw(&format!("the report on {text:?}"), format!("{report}\n{}\n{report:?}", report.render(true)));
    }
    let token = "C4nTokenThatIsPrinted7f3a";
    aviary.plant("a token that is printed", token);
    let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let subject = SubjectToken::from_authorization(&header).unwrap().unwrap();
    let access = AccessToken::new(token).unwrap();
    let form = cambist::issuer::Form::new().with("subject_token", token);
    let printed = format!("{:?} {subject:?} {access:?} {:?} {:?} {form:?}", Secret::new(token), access.authorization(), subject.digest());
    aviary.saw("words that print themselves", printed);
    the_program(aviary).await;
}

/// `check` and `run` with a secret in the environment, in the file, and in a file beside it.
async fn the_program(aviary: &Aviary) {
    let dir = tempfile::tempdir().unwrap();
    let (file, beside) = (dir.path().join("cambist.yaml"), dir.path().join("secret"));
    std::fs::write(&beside, Given::File.secret()).unwrap();
    let secrets = [
        format!("{{ file: {} }}", beside.display()),
        "{ env: REALM_SECRET }".to_owned(),
        serde_json::json!(Given::Inline.secret()).to_string(),
        "{ env: NOT_SET }".to_owned(),
    ];
    // Nobody listens at the issuer, and the last address is nobody's: `run` fails after it has read everything.
    for (secret, address) in secrets.iter().flat_map(|s| [(s, "127.0.0.1:0"), (s, "203.0.113.7:1")]) {
        let text = format!(
            "listeners: {{ main: {{ address: \"{address}\" }} }}\nmetrics: {{ address: 127.0.0.1:0 }}\nlog: {{ level: trace }}\n\
             issuers: {{ main: {{ url: \"http://127.0.0.1:1\", client_id: gateway, client_secret: {secret} }} }}\n\
             routes: {{ a: {{ match: {{ path: / }}, upstream: \"http://127.0.0.1:1\", audience: b }} }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let verbs: &[&str] = if address.starts_with("203") { &["check", "run", "healthcheck"] } else { &["check"] };
        for verb in verbs {
            let mut command = Command::cargo_bin("cambist").unwrap();
            let output = command.arg(verb).arg("--config").arg(&file).env("REALM_SECRET", Given::Variable.secret()).output().unwrap();
            assert!(*verb == "check" || !output.status.success());
            let said = [output.stdout, output.stderr].concat();
            aviary.saw(&format!("what `{verb}` says"), String::from_utf8(said).unwrap());
        }
    }
}
