//! Crowds of small objects, as one editor of a namespace makes them in seconds.

use std::time::Duration;

use anyhow::Result;
use fake_cloud::{Generate, Seed};
use kube::api::{Api, ListParams};
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync};
use serde_json::json;

use super::{begin, peak, share_of_core};
use crate::objects;
use crate::plan::BenchPlan;
use crate::report::Figure;
use crate::run::BenchRun;

/// How long all objects may take to have a status.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
/// How long its CPU time is measured after that.
const LOOK: Duration = Duration::from_secs(30);
/// Bytes of annotations for each object: somewhat less than the API server allows (256 KiB).
const ANNOTATION_BYTES: usize = 200 << 10;

/// A thousand references, and five hundred syncs that select them all.
pub(super) async fn references_and_syncs(run: &BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    const CASE: &str = "1,000 references and 500 syncs of all of them";
    begin(CASE);
    let (references, syncs) = if plan.quick { (100, 50) } else { (1000, 500) };
    let generate = Generate { kakao_clusters: references, ..Generate::default() };
    let environment = run.environment("hostile-syncs", Seed { generate, ..Seed::default() }).await?;
    objects::create(&environment.api(), 1..=references, plan.interval.as_secs()).await?;
    let api: &Api<RedisParameterSync> = &environment.api();
    objects::create_each(api, 1..=syncs, |number| {
        let sync: RedisParameterSync = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
            "metadata": { "name": objects::name(number) }, "spec": { "clusterSelector": {} },
        }))?;
        Ok(sync)
    })
    .await?;
    let operator = run.launch(&environment, &[])?;
    until_all_have_a_status(run, api, |sync| sync.status.as_ref().and_then(|status| status.observed_generation))
        .await?;
    let cpu = share_of_core(CASE, &operator, LOOK).await?;
    let bytes: usize = api
        .list(&ListParams::default())
        .await?
        .items
        .iter()
        .map(|sync| serde_json::to_vec(&sync.status).map_or(0, |status| status.len()))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "some MiB")]
    let status = Figure::new(format!("{CASE}: statuses of the syncs"), bytes as f64 / f64::from(1 << 20), "MiB");
    let figures = vec![peak(CASE, &operator)?, cpu, status];
    operator.stop().await?;
    Ok(figures)
}

/// Three thousand references to Secrets that do not exist, each with nearly as many annotations as allowed.
pub(super) async fn large_annotations(run: &BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    const CASE: &str = "3,000 references without Secrets, 200 KB of annotations each";
    begin(CASE);
    let count: u32 = if plan.quick { 100 } else { 3000 };
    let environment = run.environment("hostile-annotations", Seed::default()).await?;
    let api: &Api<RedisClusterRef> = &environment.api();
    objects::create_each(api, 1..=count, |number| {
        let reference: RedisClusterRef = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": {
                "name": objects::name(number),
                "annotations": { "example.com/note": "a note ".repeat(ANNOTATION_BYTES / 7) },
            },
            "spec": { "kakaoCloud": {
                "clusterID": objects::cluster_id(number),
                "credentialsSecretRef": { "name": format!("missing-{number}") },
            } },
        }))?;
        Ok(reference)
    })
    .await?;
    let operator = run.launch(&environment, &[])?;
    until_all_have_a_status(run, api, |reference| {
        reference.status.as_ref().and_then(|status| status.observed_generation)
    })
    .await?;
    let cpu = share_of_core(CASE, &operator, LOOK).await?;
    let figures = vec![peak(CASE, &operator)?, cpu];
    operator.stop().await?;
    Ok(figures)
}

/// Waits until the operator has written a status for every object.
async fn until_all_have_a_status<K>(run: &BenchRun, api: &Api<K>, observed: impl Fn(&K) -> Option<i64>) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let all = async {
        loop {
            let (mut pages, mut looked_at) = (ListParams::default().limit(100), true);
            loop {
                let page = api.list(&pages).await?;
                looked_at &= page.items.iter().all(|object| observed(object).is_some_and(|generation| generation > 0));
                match page.metadata.continue_.filter(|token| looked_at && !token.is_empty()) {
                    Some(token) => pages.continue_token = Some(token),
                    None => break,
                }
            }
            if looked_at {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::time::timeout(SETTLED_WITHIN, all).await;
    ended.unwrap_or_else(|_| Err(run.late("a status for every object", SETTLED_WITHIN)))
}
