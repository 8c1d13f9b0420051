//! Where the clouds are. Endpoints come from the operator's own flags only, never from an object in the cluster.

use std::collections::BTreeMap;

use reqwest::Url;

/// The region that KakaoCloud documents.
const KAKAO_REGION: &str = "kr-central-2";
/// NCP's sites and their documented gateways.
const NCP_SITES: [(&str, &str); 3] = [
    ("Public", "https://ncloud.apigw.ntruss.com"),
    ("Gov", "https://ncloud.apigw.gov-ntruss.com"),
    ("Fin", "https://fin-ncloud.apigw.fin-ntruss.com"),
];

/// Which set of endpoints a flag configures; knows the keys it may have and the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointSet {
    /// `--kakao-endpoint`: KakaoCloud Redis by region; default `https://redis.{region}.kakaocloud.com`.
    Kakao,
    /// `--kakao-iam-endpoint`: KakaoCloud IAM, one for all regions unless a region has its own.
    KakaoIam,
    /// `--ncp-endpoint`: NCP's API gateway by site.
    Ncp,
}

impl EndpointSet {
    const fn flag(self) -> &'static str {
        match self {
            Self::Kakao => "--kakao-endpoint",
            Self::KakaoIam => "--kakao-iam-endpoint",
            Self::Ncp => "--ncp-endpoint",
        }
    }

    const fn key_word(self) -> &'static str {
        match self {
            Self::Kakao | Self::KakaoIam => "region",
            Self::Ncp => "site",
        }
    }

    /// The key as the map holds it, or none if this set cannot have such a key.
    fn canonical_key(self, key: &str) -> Option<String> {
        match self {
            Self::Ncp => {
                NCP_SITES.iter().find(|(site, _)| site.eq_ignore_ascii_case(key)).map(|(site, _)| (*site).to_owned())
            }
            Self::Kakao | Self::KakaoIam => {
                let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                (!key.is_empty() && key.bytes().all(fits)).then(|| key.to_owned())
            }
        }
    }

    /// The real cloud, as its documentation has it.
    fn defaults(self) -> EndpointMap {
        let known = |pairs: &[(&str, &str)]| {
            pairs.iter().filter_map(|(key, url)| Some(((*key).to_owned(), Url::parse(url).ok()?))).collect()
        };
        let (by_key, fallback) = match self {
            Self::Kakao => (known(&[(KAKAO_REGION, "https://redis.kr-central-2.kakaocloud.com")]), None),
            Self::KakaoIam => (BTreeMap::new(), Url::parse("https://iam.kakaocloud.com").ok()),
            Self::Ncp => (known(&NCP_SITES), None),
        };
        EndpointMap { set: self, by_key, fallback }
    }
}

/// Base URLs by region (KakaoCloud) or site (NCP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointMap {
    set: EndpointSet,
    by_key: BTreeMap<String, Url>,
    fallback: Option<Url>,
}

/// A flag value that is no endpoint.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{flag}: {problem}")]
pub struct EndpointError {
    /// The flag, e.g. `--ncp-endpoint`.
    pub flag: &'static str,
    /// What is wrong with its value, as a sentence.
    pub problem: String,
}

/// A region or site without endpoint.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no endpoint is configured for the {key_word} {key:?}; known: {}; add one with {flag} {key}=URL", known.join(", "))]
pub struct UnknownEndpoint {
    /// The region or site that was asked for.
    pub key: String,
    /// The ones there are.
    pub known: Vec<String>,
    /// `region` or `site`.
    pub key_word: &'static str,
    /// The flag that would add it.
    pub flag: &'static str,
}

impl EndpointMap {
    /// The real cloud's endpoints.
    #[must_use]
    pub fn real(set: EndpointSet) -> Self {
        set.defaults()
    }

    /// The defaults, overridden by the values of a repeatable flag: `key=url` for one region or site, or one plain
    /// `url` for all known ones. `allow_insecure` permits http beyond loopback.
    ///
    /// # Errors
    /// A sentence that names the flag, for anything that is not an http(s) base URL or not a key of the set.
    pub fn parse<S: AsRef<str>>(set: EndpointSet, values: &[S], allow_insecure: bool) -> Result<Self, EndpointError> {
        let mut map = set.defaults();
        let mut keyed = BTreeMap::new();
        let mut plain = None;
        let duplicate = |what: String| EndpointError { flag: set.flag(), problem: format!("{what} is given twice") };
        for value in values.iter().map(|value| value.as_ref().trim()) {
            let (key, url) = split_value(value);
            let url = parse_url(url, allow_insecure).map_err(|problem| EndpointError { flag: set.flag(), problem })?;
            match key {
                None if plain.is_some() => return Err(duplicate("the URL for all".to_owned())),
                None => plain = Some(url),
                Some(key) => {
                    let key = set.canonical_key(key).ok_or_else(|| bad_key(set, key))?;
                    if keyed.contains_key(&key) {
                        return Err(duplicate(format!("the {} {key}", set.key_word())));
                    }
                    keyed.insert(key, url);
                }
            }
        }
        if let Some(plain) = plain {
            map.by_key.values_mut().for_each(|url| *url = plain.clone());
            map.fallback = map.fallback.map(|_| plain);
        }
        map.by_key.extend(keyed);
        Ok(map)
    }

    /// The base URL for a region or site; sites are compared without case.
    ///
    /// # Errors
    /// [`UnknownEndpoint`] when nothing is configured for it.
    pub fn lookup(&self, key: &str) -> Result<Url, UnknownEndpoint> {
        self.set
            .canonical_key(key)
            .and_then(|key| self.by_key.get(&key).or(self.fallback.as_ref()))
            .cloned()
            .ok_or_else(|| UnknownEndpoint {
                key: key.chars().take(64).collect(),
                known: self.keys().map(str::to_owned).collect(),
                key_word: self.set.key_word(),
                flag: self.set.flag(),
            })
    }

    /// The regions or sites that have an endpoint of their own.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Every base URL.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.by_key.values().chain(&self.fallback)
    }
}

/// `key=url` or `url`; a URL may hold a `=` of its own.
fn split_value(value: &str) -> (Option<&str>, &str) {
    match value.split_once('=') {
        Some((key, url)) if !key.contains("://") => (Some(key.trim()), url.trim()),
        _ => (None, value),
    }
}

fn bad_key(set: EndpointSet, key: &str) -> EndpointError {
    let key: String = key.chars().take(64).collect();
    let problem = match set {
        EndpointSet::Ncp => format!("{key:?} is no site: Public, Gov or Fin"),
        EndpointSet::Kakao | EndpointSet::KakaoIam => {
            format!("{key:?} is no region: lower-case letters, digits and dashes, as in {KAKAO_REGION}")
        }
    };
    EndpointError { flag: set.flag(), problem }
}

/// A base URL: https (or http where that is allowed), a host, no user, no query, no fragment.
fn parse_url(text: &str, allow_insecure: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the value is not a URL ({error})"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user or password; credentials belong in a Secret".to_owned());
    }
    let insecure = match url.scheme() {
        "https" => false,
        "http" => true,
        _ => return Err("the URL must start with https://".to_owned()),
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{url} must not have a query or fragment: it is the base of all requests"));
    }
    if insecure && !allow_insecure && !is_loopback(&url) {
        return Err(format!(
            "{url} would send credentials in the clear: use https, or allow it with --allow-insecure-endpoints"
        ));
    }
    Ok(url)
}

/// Whether the URL points at this machine: `localhost`, 127.0.0.0/8 or ::1.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map_or_else(|_| bare.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: EndpointSet, values: &[&str]) -> Result<EndpointMap, String> {
        EndpointMap::parse(set, values, false).map_err(|error| error.to_string())
    }

    fn lookup(map: &EndpointMap, key: &str) -> String {
        map.lookup(key).map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn defaults_are_the_real_clouds() {
        let kakao = EndpointMap::real(EndpointSet::Kakao);
        assert_eq!(lookup(&kakao, "kr-central-2"), "https://redis.kr-central-2.kakaocloud.com/");
        assert_eq!(
            lookup(&kakao, "kr-west-9"),
            "no endpoint is configured for the region \"kr-west-9\"; known: kr-central-2; \
             add one with --kakao-endpoint kr-west-9=URL"
        );
        assert_eq!(lookup(&EndpointMap::real(EndpointSet::KakaoIam), "kr-west-9"), "https://iam.kakaocloud.com/");
        let ncp = EndpointMap::real(EndpointSet::Ncp);
        assert_eq!(ncp.keys().collect::<Vec<_>>(), ["Fin", "Gov", "Public"]);
        assert_eq!(lookup(&ncp, "gov"), "https://ncloud.apigw.gov-ntruss.com/");
        assert!(ncp.lookup("Mars").is_err());
    }

    #[test]
    fn one_url_is_for_all_known_keys_and_keyed_ones_win() {
        let ncp = parse(EndpointSet::Ncp, &["http://127.0.0.1:18080/ncp", "fin=https://fin.example.com"]).unwrap();
        assert_eq!(lookup(&ncp, "Public"), "http://127.0.0.1:18080/ncp");
        assert_eq!(lookup(&ncp, "Fin"), "https://fin.example.com/");
        let kakao = parse(EndpointSet::Kakao, &["kr-west-9=https://kakao.example.com", "http://localhost:1"]).unwrap();
        assert_eq!(lookup(&kakao, "kr-central-2"), "http://localhost:1/");
        assert_eq!(lookup(&kakao, "kr-west-9"), "https://kakao.example.com/");
        assert!(kakao.lookup("kr-other-1").is_err());
        let iam = parse(EndpointSet::KakaoIam, &["http://[::1]:9"]).unwrap();
        assert_eq!(lookup(&iam, "anywhere-1"), "http://[::1]:9/");
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence() {
        for (set, values, fragment) in [
            (EndpointSet::Ncp, vec!["Moon=https://a.example"], "\"Moon\" is no site: Public, Gov or Fin"),
            (EndpointSet::Kakao, vec!["KR=https://a.example"], "is no region"),
            (EndpointSet::Kakao, vec!["=https://a.example"], "is no region"),
            (EndpointSet::Kakao, vec!["redis.example.com"], "is not a URL"),
            (EndpointSet::Kakao, vec!["ftp://a.example"], "must start with https://"),
            (EndpointSet::Kakao, vec!["http://a.example"], "in the clear"),
            (EndpointSet::Kakao, vec!["http://127.0.0.1.example"], "in the clear"),
            (EndpointSet::Kakao, vec!["https://a.example/?x=1"], "query"),
            (EndpointSet::Ncp, vec!["https://a.example", "https://b.example"], "given twice"),
            (EndpointSet::Ncp, vec!["Fin=https://a.example", "fin=https://b.example"], "given twice"),
        ] {
            let error = parse(set, &values).unwrap_err();
            assert!(error.starts_with(set.flag()) && error.contains(fragment), "{values:?}: {error}");
        }
        let error = parse(EndpointSet::Ncp, &["https://user:hunter22@a.example"]).unwrap_err();
        assert!(error.contains("user or password") && !error.contains("hunter22"), "{error}");
        assert!(EndpointMap::parse(EndpointSet::Kakao, &["http://a.example"], true).is_ok());
    }
}
