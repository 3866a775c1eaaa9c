//! Traces of the real program: what of OpenTelemetry's environment counts and what does not, that the end hands over what is left, and
//! that a collector that is gone is one line in the log.

use crate::collector::{Collector, one};
use crate::kit::{ROUTES, World};
use crate::program::{File, Program, cambist, file, free_port, get, get_as};

/// The program in `world`, ready, with these variables.
async fn started(world: &World, tracing: &str, variables: &[(&str, &str)]) -> (Program, File) {
    let written = file(&world.yaml(ROUTES, &format!("{tracing}shutdown: {{ delay: 0s, grace: 5s }}\n")));
    let mut program = Program::spawn(cambist().envs(variables.iter().copied()).arg("run").arg("--config").arg(&written.path));
    let metrics = program.metrics().await;
    program.until("it is ready", async || get(metrics, "/readyz").await.is_some_and(|a| a.status == 200)).await;
    (program, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_says_who_we_are_and_what_the_collector_wants_to_see_and_nothing_else() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let variables = [
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=ours"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=c4nary-key"),
        // None of these: the configuration is the one place for them.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*nowhere),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*nowhere),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("HTTP_PROXY", &*nowhere),
        ("http_proxy", &*nowhere),
    ];
    let (mut program, _file) = started(&world, &collector.yaml("100%"), &variables).await;
    let at = program.listener().await;
    assert_eq!(get_as(at, "/orders", &world.iam.caller_token("ada").unwrap()).await.status, 200);
    program.signal("TERM");
    assert!(program.ended().await.success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 6, "all that was left has been handed over: {spans:#?}");
    assert_eq!(program.access()[0]["trace_id"], one(&spans, "GET /orders").trace, "logs and traces can be laid side by side");
    let resource = collector.resource();
    let of = |key: &str| resource.get(key).map(String::as_str);
    assert_eq!((of("service.name"), of("service.version"), of("deployment.environment.name")), (Some("edge"), Some("ours"), Some("test")));
    assert!(collector.heads()[0].contains("x-api-key: c4nary-key\r\n"), "{}", collector.heads()[0]);
    assert!(!program.out().concat().contains("c4nary"), "the key is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_is_told_of_once_and_ends_nothing() {
    let world = World::new().await;
    let tracing = format!("tracing: {{ otlp_endpoint: \"http://127.0.0.1:{}\", sample: 100% }}\n", free_port());
    let (mut program, _file) = started(&world, &tracing, &[]).await;
    let (at, token) = (program.listener().await, world.iam.caller_token("ada").unwrap());
    let lost = |program: &Program| {
        program.log().into_iter().filter(|l| l["message"].as_str().unwrap_or("").starts_with("spans are lost")).collect::<Vec<_>>()
    };
    assert_eq!(get_as(at, "/orders", &token).await.status, 200);
    program.until_said("spans are lost: the collector does not take them", 1).await;
    for _ in 0..5 {
        assert_eq!(get_as(at, "/orders", &token).await.status, 200);
    }
    program.signal("TERM");
    assert!(program.ended().await.success());
    let said = lost(&program);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0]["spans"].as_u64() == Some(6) && said[0]["cure"].as_str().unwrap().contains("4318"), "{}", said[0]);
}
