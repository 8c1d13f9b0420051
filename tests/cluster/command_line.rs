//! The other subcommands, and what is said of a command line that cannot be used.

use std::process::Output;

use fake_cloud::{
    KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, KakaoCluster, NCP_ACCESS_KEY, NCP_SECRET_KEY, NcpInstance,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use managed_redis_operator::api::{RedisClusterRef, crds};
use serde_json::Value;

use crate::support::{BOUND, Env, command};

async fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::from(command());
    command.args(args).envs(environment.iter().copied()).kill_on_drop(true);
    tokio::time::timeout(BOUND, command.output()).await.expect("it ends by itself").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Documents of a YAML stream.
fn documents<T: serde::de::DeserializeOwned>(yaml: &str) -> Vec<T> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

#[tokio::test]
async fn crds_prints_what_the_library_has() {
    let output = run(&["crds"], &[]).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed: Vec<CustomResourceDefinition> = documents(&text(&output.stdout));
    assert_eq!(printed, crds());
}

#[tokio::test]
async fn discover_lists_what_a_credential_can_see() {
    let env = Env::without_operator("discover").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.clouds().add_kakao_cluster(KakaoCluster::cluster_mode("cluster-1", "Web_Sessions")).unwrap();
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-2", "carts")).unwrap();
    env.clouds().add_ncp_instance(NcpInstance::highly_available("882791", "tokens")).unwrap();
    let url = env.clouds_url();
    let kakao = [
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID),
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", KAKAO_CREDENTIAL_SECRET),
        ("MRO_KAKAO_ENDPOINT", &url),
        ("MRO_KAKAO_IAM_ENDPOINT", &url),
    ];
    let ncp =
        [("NCLOUD_ACCESS_KEY", NCP_ACCESS_KEY), ("NCLOUD_SECRET_KEY", NCP_SECRET_KEY), ("MRO_NCP_ENDPOINT", &url)];
    let output = run(&["discover"], &kakao).await;
    assert!(output.status.success(), "{output:?}");
    let host = |name: &str| format!("{name}-primary.kr-central-2.memstore.example");
    let wanted = format!(
        "NAME           ID          STATE     MODE         VERSION   PARAMETERS   ENDPOINT\n\
         Web_Sessions   cluster-1   Running   Cluster      7.2.11    -            {}\n\
         carts          set-1       Running   Standalone   7.2.11    In-Sync      {}\n\
         carts          set-2       Running   Standalone   7.2.11    In-Sync      {}\n",
        host("Web_Sessions"),
        host("carts"),
        host("carts")
    );
    assert_eq!(text(&output.stdout), wanted);
    let output = run(&["discover"], &ncp).await;
    let wanted = "NAME     ID       STATE     MODE         VERSION   PARAMETERS   ENDPOINT\n\
                  tokens   882791   running   Standalone   4.0.2     -            tokens-001.cdb.ncp.example\n";
    assert_eq!(text(&output.stdout), wanted);
    for (environment, names) in [(&kakao[..], vec!["web-sessions", "carts", "carts-set-2"]), (&ncp[..], vec!["tokens"])]
    {
        let output = run(&["discover", "-o", "yaml", "--secret", "cloud-key"], environment).await;
        let objects: Vec<Value> = documents(&text(&output.stdout));
        let printed: Vec<&str> = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(printed, names);
        for object in objects {
            let typed: RedisClusterRef = serde_json::from_value(object.clone()).unwrap();
            let created = env.api::<RedisClusterRef>().create(&PostParams::default(), &typed).await;
            created.unwrap_or_else(|error| panic!("{object}: {error}"));
        }
    }
}

#[tokio::test]
async fn discover_says_in_a_sentence_why_it_cannot() {
    let env = Env::without_operator("no-discover").await;
    let url = env.clouds_url();
    let ncp = |secret: &'static str| {
        vec![("NCLOUD_ACCESS_KEY", NCP_ACCESS_KEY), ("NCLOUD_SECRET_KEY", secret), ("MRO_NCP_ENDPOINT", url.as_str())]
    };
    for (environment, sentence) in [
        (vec![], "no credential: set KAKAOCLOUD_APPLICATION_CREDENTIAL_ID and"),
        (ncp("not-the-secret-at-all"), "NCP rejected the credentials (getCloudDBInstanceList, HTTP 401"),
        (ncp("with a blank"), "cannot be used: NCLOUD_SECRET_KEY holds a blank"),
    ] {
        let output = run(&["discover"], &environment).await;
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.starts_with("managed-redis-operator: ") && told.contains(sentence), "{told}; wanted: {sentence}");
        for secret in ["not-the-secret-at-all", "with a blank"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// What is refused at the start is what the API server would refuse with every list, and nothing else.
#[tokio::test]
async fn label_selectors_are_judged_as_the_api_server_does() {
    let mut different = Vec::new();
    let api = kube::Api::<RedisClusterRef>::all(crate::support::server().await.client().unwrap());
    for selector in [
        "team=shop",
        "team==shop",
        "team!=shop",
        "team",
        "!team",
        "! team",
        "team in (shop,bank)",
        "team in (shop, bank) , a=b",
        "team notin (shop)",
        "team in ()",
        "team in (,)",
        "team in (a,)",
        "team=",
        "team=,a",
        "example.com/team=shop",
        "size>1",
        "size<-1",
        "in in (in)",
        "in",
        "notin=in",
        " team = shop ",
        "team in shop",
        "team in (shop",
        "team=a b",
        "team=a=b",
        "team,",
        ",team",
        "=a",
        "a,,b",
        "-a",
        "a-",
        "a=-b",
        "a=b-",
        "A.b/c",
        "a/b/c",
        "/a",
        "a/",
        "size>big",
        "size>",
        "size=>1",
        "team ! shop",
        "!team=shop",
        "!!team",
        "team in (a b)",
        "team in (a(b))",
        "team) in (a",
        "a=\u{e9}",
        "a\u{e9}",
        "size>+1",
        "size>9223372036854775808",
        "team in in (a)",
        "team=in",
        "team=(a)",
        "a=b\nc=d",
        "a=b,\nc=d",
        "a&b",
        "a=b&limit=1",
        "a=*",
        "a exists",
        "a=\"b\"",
    ] {
        let params = kube::api::ListParams::default().labels(selector).limit(1);
        let accepted = match api.list(&params).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 400 => false,
            Err(error) => panic!("{selector:?}: {error}"),
        };
        let judged = managed_redis_operator::cli::selector::check(selector);
        if judged.is_ok() != accepted {
            different.push((selector, judged));
        }
    }
    assert_eq!(different, []);
    let long = "a".repeat(63);
    assert!(managed_redis_operator::cli::selector::check(&format!("{long}={long}")).is_ok());
    assert!(managed_redis_operator::cli::selector::check(&format!("{long}a")).is_err());
}

#[tokio::test]
async fn a_command_line_that_cannot_be_used_is_refused_with_a_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let kubeconfig = crate::support::server().await.kubeconfig_path().to_str().unwrap().to_owned();
    let cases: Vec<(Vec<&str>, &str, &str)> = vec![
        (
            vec!["--kakao-endpoint", "ftp://a.example"],
            &kubeconfig,
            "--kakao-endpoint: the URL must start with https://",
        ),
        (vec!["--ncp-endpoint", "http://a.example"], &kubeconfig, "would send credentials in the clear"),
        (vec!["--ncp-endpoint", "Moon=https://a.example"], &kubeconfig, "\"Moon\" is no site: Public, Gov or Fin"),
        (vec!["--cloud-qps", "0"], &kubeconfig, "--cloud-qps must be a number between 0.001 and 10000"),
        (vec!["--cloud-qps", "many"], &kubeconfig, "invalid value 'many' for '--cloud-qps"),
        (vec!["--poll-interval", "5"], &kubeconfig, "write it as 30s, 10m or 720h"),
        (vec!["--workers", "0"], &kubeconfig, "0 is not in 1..=1024"),
        (vec!["--watch-namespace", ""], &kubeconfig, "a value is required for '--watch-namespace"),
        (vec!["--log-filter", "a=b=c"], &kubeconfig, "--log-filter"),
        (vec!["--label-selector", "team in shop"], &kubeconfig, "--label-selector \"team in shop\": "),
        (vec!["--label-selector", "team=a b"], &kubeconfig, "--label-selector \"team=a b\": "),
        (vec!["--admin-addr", &taken], &kubeconfig, "cannot listen on --admin-addr"),
        (vec!["--frobnicate"], &kubeconfig, "unexpected argument '--frobnicate'"),
        (vec![], "/nonexistent/kubeconfig", "no Kubernetes cluster to work with"),
    ];
    for (flags, kubeconfig, sentence) in cases {
        let args: Vec<&str> = std::iter::once("run").chain(flags.iter().copied()).collect();
        let output = run(&args, &[("KUBECONFIG", kubeconfig)]).await;
        let told = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{flags:?}: {output:?}");
        assert_eq!(told.matches(sentence).count(), 1, "{flags:?}: {told}; wanted once: {sentence}");
        assert!(!told.contains("panicked") && !told.contains("backtrace"), "{flags:?}: {told}");
    }
}
