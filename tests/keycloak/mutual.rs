//! The gateway proves itself to a real Keycloak by its certificate (`tls_client_auth`, RFC 8705). For that the server is started
//! with TLS beside its plain port, and as it was afterwards: the test has it to itself.

use crate::alone::then;
use crate::ask::{ASK, Ask};
use crate::server::{Keycloak, unique};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, unique("authority"));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for `name` and its key, and returns where.
    fn certify(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let (at, key_at) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        fs::write(&at, certificate.pem()).unwrap();
        fs::write(&key_at, key.serialize_pem()).unwrap();
        (at, key_at)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_proves_itself_by_its_certificate() {
    let Some(k) = Keycloak::alone().await else { return };
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    let name = unique("gateway");
    let ((server, server_key), (own, own_key)) = (authority.certify(dir.path(), "server"), authority.certify(dir.path(), &name));
    let (other, other_key) = authority.certify(dir.path(), "another");
    let ca = dir.path().join("ca.crt");
    fs::write(&ca, authority.0.pem()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (ca, https, base) = (ca.display().to_string(), port.to_string(), k.issuer().replace("/realms/cambist", ""));
    let (server, server_key) = (server.display().to_string(), server_key.display().to_string());

    let client = k
        .client(json!({
            "publicClient": false, "clientAuthenticatorType": "client-x509", "defaultClientScopes": ["basic", "orders"],
            "attributes": {
                "standard.token.exchange.enabled": "true", "x509.subjectdn": format!("CN={name}"),
                "x509.allow.regex.pattern.comparison": "false",
            },
        }))
        .await;
    let login = k.login_client(&client, json!({})).await;
    k.stop().await;
    let proven = async {
        // Tokens name the plain address, whichever way they are asked for.
        k.start(&[
            ("KC_HOSTNAME", &base),
            ("KC_HTTPS_PORT", &https),
            ("KC_HTTPS_CERTIFICATE_FILE", &server),
            ("KC_HTTPS_CERTIFICATE_KEY_FILE", &server_key),
            ("KC_HTTPS_CLIENT_AUTH", "request"),
            ("KC_TRUSTSTORE_PATHS", &ca),
        ])
        .await;
        let issuer = |(cert, key): (&Path, &Path)| {
            format!(
                "token_endpoint: \"{}\", jwks_uri: \"{}/protocol/openid-connect/certs\", ca_file: {ca}, \
                 token_endpoint_auth_method: tls_client_auth, client_certificate: {{ cert_file: {}, key_file: {} }}",
                k.token_endpoint_over_tls(port),
                k.issuer(),
                cert.display(),
                key.display()
            )
        };
        let by = issuer((&own, &own_key));
        let g = k.gateway(&Ask { client: &client, secret: "", issuer: &by, ..ASK }).await;
        for user in ["ada", "bob"] {
            let seen = g.passes(&k.login(&login, user).await.access).await;
            assert_eq!((seen.claim("aud"), seen.claim("azp")), (Some("orders-api"), Some(&*client)));
        }
        // The same authority, another subject.
        let by = issuer((&other, &other_key));
        let g = k.gateway(&Ask { client: &client, secret: "", issuer: &by, ..ASK }).await;
        g.refused(&k.login(&login, "ada").await.access, (500, "misconfigured")).await;
    };
    then(proven, async {
        k.stop().await;
        k.start(&[]).await;
    })
    .await;
}
