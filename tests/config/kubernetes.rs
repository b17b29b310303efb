//! The manifests in `conf/kubernetes`, held to the config that they carry and
//! to each other: what a schema cannot know.
//!
//! The pod's volume is laid out in a directory as kubelet would, with a
//! certificate and a token of the test's own, and the config is read there.

use crate::fixture::{Fixture, repository_text};
use ebbtide::config::{AdminAddr, Config, parse_with};
use serde_yaml::Value;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

fn manifest(name: &str) -> Value {
    let text = repository_text(&format!("conf/kubernetes/{name}.yaml"));
    serde_yaml::from_str(&text).expect(name)
}

/// What a path such as `spec.ports.0.name` leads to.
fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |inner, step| {
        let found = match step.parse::<usize>() {
            Ok(index) => inner.get(index),
            Err(_) => inner.get(step),
        };
        found.unwrap_or_else(|| panic!("no {step} of {path}"))
    })
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    let found = at(value, path);
    found
        .as_str()
        .unwrap_or_else(|| panic!("{path} is no text: {found:?}"))
}

fn number(value: &Value, path: &str) -> u64 {
    let found = at(value, path);
    found
        .as_u64()
        .unwrap_or_else(|| panic!("{path} is no number: {found:?}"))
}

fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    let found = at(value, path).as_sequence();
    found.unwrap_or_else(|| panic!("{path} is no list"))
}

struct Pod {
    deployment: Value,
    config: Config,
}

impl Pod {
    fn new() -> Self {
        let deployment = manifest("deployment");
        let fixture = Fixture::new();
        let pod = at(&deployment, "spec.template.spec");
        for source in list(pod, "volumes.0.projected.sources") {
            lay_out(&fixture, source);
        }
        let source = fixture.path("ebbtide.toml");
        let content = fs::read_to_string(&source).expect("it is mounted");
        let resolve = |name: &str, port| {
            assert!(
                name.split('.').next_back() == Some("svc"),
                "{name} is no name of a Service"
            );
            Ok(vec![SocketAddr::from(([10, 96, 0, 1], port))])
        };
        let config = parse_with(&source, &content, &resolve);
        let config = config.unwrap_or_else(|report| panic!("{report}"));
        Self { deployment, config }
    }

    fn spec(&self, path: &str) -> &Value {
        at(&self.deployment, &format!("spec.template.spec.{path}"))
    }

    fn container(&self) -> &Value {
        self.spec("containers.0")
    }

    /// The port that a name stands for.
    fn port(&self, name: &str) -> u64 {
        let mut ports = list(self.container(), "ports").iter();
        let port = ports.find(|port| text(port, "name") == name);
        number(port.expect(name), "containerPort")
    }

    fn command(&self, path: &str) -> Vec<&str> {
        let words = list(self.container(), path).iter();
        words.map(|word| word.as_str().expect("a word")).collect()
    }
}

/// Write what one source of the projected volume brings.
fn lay_out(fixture: &Fixture, source: &Value) {
    if let Some(map) = source.get("configMap") {
        let config = manifest("configmap");
        assert_eq!(text(map, "name"), text(&config, "metadata.name"));
        for (name, content) in at(&config, "data").as_mapping().expect("a map") {
            let content = content.as_str().expect("a text");
            fixture.write(name.as_str().expect("a name"), content.as_bytes());
        }
        return;
    }
    for item in list(source, "secret.items") {
        let path = text(item, "path");
        let content = match text(item, "key") {
            "tls.crt" => fs::read(fixture.path("certs/site.pem")).expect("made"),
            "tls.key" => fs::read(fixture.path("certs/site.key")).expect("made"),
            "token" => b"a-token\n".to_vec(),
            other => panic!("a secret that nobody knows: {other}"),
        };
        let folder = fixture.path(path);
        fs::create_dir_all(folder.parent().expect("a folder")).expect("made");
        fixture.write(path, &content);
    }
}

#[test]
fn every_manifest_is_of_its_kind_and_version() {
    let kinds = [
        ("configmap", "v1", "ConfigMap"),
        ("deployment", "apps/v1", "Deployment"),
        ("service", "v1", "Service"),
        ("poddisruptionbudget", "policy/v1", "PodDisruptionBudget"),
        (
            "kustomization",
            "kustomize.config.k8s.io/v1beta1",
            "Kustomization",
        ),
    ];
    for (name, version, kind) in kinds {
        let one = manifest(name);
        assert_eq!(
            (text(&one, "apiVersion"), text(&one, "kind")),
            (version, kind)
        );
    }
    let kustomization = manifest("kustomization");
    for file in list(&kustomization, "resources") {
        let file = file.as_str().and_then(|file| file.strip_suffix(".yaml"));
        manifest(file.expect("a file"));
    }
    assert_eq!(list(&kustomization, "resources").len(), kinds.len() - 1);
}

#[test]
fn everything_selects_the_pods() {
    let pod = Pod::new();
    let labels = at(&pod.deployment, "spec.template.metadata.labels");
    assert_eq!(at(&pod.deployment, "spec.selector.matchLabels"), labels);
    assert_eq!(at(&manifest("service"), "spec.selector"), labels);
    let budget = manifest("poddisruptionbudget");
    assert_eq!(at(&budget, "spec.selector.matchLabels"), labels);
    let spread = pod.spec("topologySpreadConstraints.0.labelSelector.matchLabels");
    assert_eq!(spread, labels);
    let replicas = number(&pod.deployment, "spec.replicas");
    assert!(
        replicas > number(&budget, "spec.maxUnavailable"),
        "some always serve"
    );
}

#[test]
fn ports_and_paths_are_those_of_the_config() {
    let pod = Pod::new();
    for listener in &pod.config.listeners {
        assert_eq!(pod.port(&listener.name), u64::from(listener.listen.port()));
    }
    let AdminAddr::Inet(admin) = pod.config.admin.listen else {
        panic!("probes come over TCP");
    };
    assert!(admin.ip().is_unspecified(), "probes come from the node");
    assert_eq!(pod.port("admin"), u64::from(admin.port()));
    assert!(!pod.config.admin.tokens.is_empty());
    for port in list(&manifest("service"), "spec.ports") {
        pod.port(text(port, "targetPort"));
    }
    let folder = text(pod.container(), "volumeMounts.0.mountPath");
    let config = format!("{folder}/ebbtide.toml");
    assert_eq!(pod.command("command")[1..], ["run", &config]);
    assert!(pod.container().get("volumeMounts").is_some());
    let mount = at(pod.container(), "volumeMounts.0");
    assert!(
        mount.get("subPath").is_none(),
        "it would never be brought up to date"
    );
    assert!(
        !pod.config.process.watch.is_zero(),
        "nobody sends a signal there"
    );
}

#[test]
fn probes_ask_what_is_answered_without_a_token() {
    let pod = Pod::new();
    let probes = [
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ];
    for (probe, path) in probes {
        let asks = at(pod.container(), &format!("{probe}.httpGet"));
        assert_eq!((text(asks, "path"), text(asks, "port")), (path, "admin"));
    }
}

#[test]
fn the_drain_fits_what_the_pod_is_given_and_is_seen_in_time() {
    let pod = Pod::new();
    let given = pod
        .spec("terminationGracePeriodSeconds")
        .as_u64()
        .expect("seconds");
    let given = Duration::from_secs(given);
    assert!(pod.config.longest_exit() <= given);
    assert_eq!(pod.config.plan.grace, given, "both say the same");
    let mut variables = list(pod.container(), "env").iter();
    let told = variables.find(|one| text(one, "name") == "EBBTIDE_GRACE");
    let told = ebbtide::config::duration(text(told.expect("told"), "value"));
    assert_eq!(told, Ok(given));
    let probe = at(pod.container(), "readinessProbe");
    let seen = number(probe, "periodSeconds") * number(probe, "failureThreshold")
        + number(probe, "timeoutSeconds");
    assert!(pod.config.plan.announce >= Duration::from_secs(seen));
    assert_eq!(
        pod.command("lifecycle.preStop.exec.command")[1..],
        ["drain", "--wait"]
    );
}

#[test]
fn the_pod_may_do_what_it_needs_and_no_more() {
    let pod = Pod::new();
    for listener in &pod.config.listeners {
        assert!(listener.listen.port() >= 1024, "it has no capabilities");
    }
    let container = at(pod.container(), "securityContext");
    assert_eq!(*at(container, "readOnlyRootFilesystem"), true);
    assert_eq!(*at(container, "allowPrivilegeEscalation"), false);
    assert_eq!(text(container, "capabilities.drop.0"), "ALL");
    assert_eq!(*pod.spec("securityContext.runAsNonRoot"), true);
    assert!(pod.config.receipt.is_none(), "there is nowhere to write");
}

/// Prometheus finds pods by what the Deployment says, brings the token that the
/// config wants, and comes once more while they linger.
#[test]
fn prometheus_finds_the_pods_and_sees_their_end() {
    let pod = Pod::new();
    let config: Value =
        serde_yaml::from_str(&repository_text("conf/prometheus/kubernetes.yml")).expect("YAML");
    let job = at(&config, "scrape_configs.0");
    let template = at(&pod.deployment, "spec.template.metadata");
    let annotations = at(template, "annotations");
    assert_eq!(text(job, "kubernetes_sd_configs.0.role"), "pod");
    let keeps = |source: &str| {
        let mut rules = list(job, "relabel_configs").iter();
        let kept = rules.find(|rule| text(rule, "source_labels.0").ends_with(source));
        let kept = kept.unwrap_or_else(|| panic!("nothing looks at {source}"));
        assert_eq!(text(kept, "action"), "keep");
        text(kept, "regex").to_owned()
    };
    let name = &at(template, "labels")["app.kubernetes.io/name"];
    assert_eq!(*name, keeps("label_app_kubernetes_io_name"));
    let scrape = &annotations["prometheus.io/scrape"];
    assert_eq!(*scrape, keeps("annotation_prometheus_io_scrape"));
    let port = pod.port(&keeps("container_port_name"));
    assert_eq!(annotations["prometheus.io/port"], port.to_string());
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
    assert!(job.get("authorization").is_some(), "the config has a token");
    let every = ebbtide::config::duration(text(job, "scrape_interval")).expect("a time");
    assert!(pod.config.admin.linger > every, "the last scrape comes");
}
