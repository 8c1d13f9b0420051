//! `managed-redis-operator discover`: what a credential can see.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde_json::{Value, json};

use super::run::EndpointArgs;
use crate::api::Provider;
use crate::api::shared::DEFAULT_KAKAO_REGION;
use crate::cloud::{Credentials, HttpCore, Row};
use crate::inventory::instance::Instance;
use crate::inventory::{Access, CloudClient, Location};

impl ValueEnum for Provider {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::KakaoCloud, Self::Ncp]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::KakaoCloud => PossibleValue::new("kakaocloud").help("KakaoCloud"),
            Self::Ncp => PossibleValue::new("ncp").help("NAVER Cloud Platform"),
        })
    }
}

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// One line per Redis
    Table,
    /// One RedisClusterRef per Redis
    Yaml,
}

/// Lists what a credential can see. The credential comes from the environment, in the variables that are also the keys of
/// a Secret: KAKAOCLOUD_APPLICATION_CREDENTIAL_ID and KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET, or KAKAOCLOUD_TOKEN;
/// NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY.
#[derive(Debug, clap::Args)]
pub(super) struct DiscoverArgs {
    #[command(flatten)]
    endpoints: EndpointArgs,
    /// Cloud to list [default: the one the environment has a credential for]
    #[arg(long, env = "MRO_PROVIDER", value_enum)]
    provider: Option<Provider>,
    /// KakaoCloud region
    #[arg(long, env = "MRO_REGION", default_value = DEFAULT_KAKAO_REGION)]
    region: String,
    /// NCP site: Public, Gov or Fin
    #[arg(long, env = "MRO_SITE", default_value = "Public")]
    site: String,
    /// Output format
    #[arg(short, long, env = "MRO_OUTPUT", value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Name of the Secret in the printed RedisClusterRefs [default: kakaocloud or ncp]
    #[arg(long, env = "MRO_SECRET", value_name = "NAME")]
    secret: Option<String>,
}

pub(super) async fn main(args: DiscoverArgs) -> Result<(), String> {
    let environment = environment();
    let provider = choose(args.provider, &environment)?;
    let core = HttpCore::new(args.endpoints.resolve()?, Arc::new(())).map_err(|error| error.to_string())?;
    let location = match provider {
        Provider::KakaoCloud => Location::KakaoCloud { region: &args.region },
        Provider::Ncp => Location::NcpClassic { site: &args.site },
    };
    let credentials = Credentials::from_secret(provider, &environment).map_err(|error| unsuitable(&error))?;
    let client = CloudClient::connect(&core, &Access::new(location, credentials)).map_err(|error| error.to_string())?;
    let mut instances = Vec::new();
    for row in client.list(&|row| row).await.map_err(|error| error.to_string())? {
        match row {
            Row::Read(instance) => instances.push(instance),
            Row::Unreadable(entry) => {
                let which = entry.id.or(entry.name).unwrap_or_else(|| "without ID".to_owned());
                super::warn(&format!("an entry is left out ({which}): {}", entry.error));
            }
        }
    }
    instances.sort_by(|a, b| (&a.cluster.name, &a.cluster.id).cmp(&(&b.cluster.name, &b.cluster.id)));
    match args.output {
        OutputFormat::Table => super::print(&table(&instances)),
        OutputFormat::Yaml => super::print(&yaml(client.provider(), &args, &instances)?),
    }
}

/// The credential variables of the environment, as if they were a Secret.
fn environment() -> BTreeMap<String, Vec<u8>> {
    const KEYS: [&str; 5] = [
        "KAKAOCLOUD_APPLICATION_CREDENTIAL_ID",
        "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET",
        "KAKAOCLOUD_TOKEN",
        "NCLOUD_ACCESS_KEY",
        "NCLOUD_SECRET_KEY",
    ];
    KEYS.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?.into_bytes()))).collect()
}

fn choose(asked: Option<Provider>, environment: &BTreeMap<String, Vec<u8>>) -> Result<Provider, String> {
    let has = |prefix: &str| environment.keys().any(|key| key.starts_with(prefix));
    match (asked, has("KAKAOCLOUD_"), has("NCLOUD_")) {
        (Some(cloud), _, _) => Ok(cloud),
        (None, true, false) => Ok(Provider::KakaoCloud),
        (None, false, true) => Ok(Provider::Ncp),
        (None, true, true) => {
            Err("the environment has credentials for both clouds: choose one with --provider".to_owned())
        }
        (None, false, false) => Err("no credential: set KAKAOCLOUD_APPLICATION_CREDENTIAL_ID and \
             KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET, or KAKAOCLOUD_TOKEN, or NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY"
            .to_owned()),
    }
}

fn unsuitable(error: &crate::cloud::CredentialError) -> String {
    format!("the credential in the environment cannot be used: {error}")
}

fn table(instances: &[Instance]) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["NAME", "ID", "STATE", "MODE", "VERSION", "PARAMETERS", "ENDPOINT"].map(str::to_owned)];
    rows.extend(instances.iter().map(|Instance { state, cluster, .. }| {
        [
            word(&cluster.name),
            word(&cluster.id),
            word(state),
            word(&cluster.mode),
            word(&cluster.engine_version),
            word(&cluster.parameter_group.as_ref().and_then(|group| group.sync_status.clone())),
            word(&cluster.endpoints.as_ref().and_then(|endpoints| endpoints.primary.clone())),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.join("   ").trim_end());
    }
    text
}

fn yaml(provider: Provider, args: &DiscoverArgs, instances: &[Instance]) -> Result<String, String> {
    let mut text = String::new();
    let mut taken = std::collections::HashSet::new();
    for Instance { cluster, .. } in instances {
        let Some(id) = &cluster.id else { continue };
        let mut name = object_name(cluster.name.as_deref().unwrap_or(id));
        if !taken.insert(name.clone()) {
            name = object_name(&format!("{name}-{id}"));
            taken.insert(name.clone());
        }
        text.push_str("---\n");
        let object = reference(provider, args, id, &name);
        text.push_str(&serde_saphyr::to_string(&object).map_err(|error| error.to_string())?);
    }
    Ok(text)
}

fn reference(provider: Provider, args: &DiscoverArgs, id: &str, name: &str) -> Value {
    let secret = |default: &str| json!({ "name": args.secret.as_deref().unwrap_or(default) });
    let spec = match provider {
        Provider::KakaoCloud => json!({ "kakaoCloud": {
            "region": args.region, "clusterID": id, "credentialsSecretRef": secret("kakaocloud") } }),
        Provider::Ncp => json!({ "ncp": {
            "site": args.site, "cloudDBInstanceNo": id, "credentialsSecretRef": secret("ncp") } }),
    };
    json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisClusterRef",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// A name Kubernetes accepts: lower case letters, digits and dashes, at most 63.
fn object_name(name: &str) -> String {
    let mapped: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let trimmed = mapped.trim_matches('-');
    if trimmed.is_empty() { "redis".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_objects() {
        for (name, wanted) in
            [("orders", "orders"), ("Test_Cluster", "test-cluster"), ("-캐시-", "redis"), ("", "redis")]
        {
            assert_eq!(object_name(name), wanted);
        }
        assert_eq!(object_name(&"x".repeat(100)).len(), 63);
    }

    #[test]
    fn the_cloud_follows_from_the_credential() {
        let of = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), vec![])).collect::<BTreeMap<_, _>>();
        assert_eq!(choose(None, &of(&["NCLOUD_ACCESS_KEY"])), Ok(Provider::Ncp));
        assert_eq!(choose(None, &of(&["KAKAOCLOUD_TOKEN"])), Ok(Provider::KakaoCloud));
        assert!(choose(None, &of(&["KAKAOCLOUD_TOKEN", "NCLOUD_ACCESS_KEY"])).unwrap_err().contains("--provider"));
        assert!(choose(None, &of(&[])).unwrap_err().starts_with("no credential"));
        assert_eq!(choose(Some(Provider::Ncp), &of(&[])), Ok(Provider::Ncp));
    }
}
