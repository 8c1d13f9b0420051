//! How soon a new reference is Ready: first with one other present, later among all of them.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use managed_redis_operator::api::RedisClusterRef;

use super::measure::percentile;
use super::report::Figure;
use super::stage::{NAMESPACE, SPARE, Stage};
use super::{BenchError, Plan, objects};

const WITHIN: Duration = Duration::from_secs(60);

/// With one other reference present.
pub async fn alone(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let seconds = plan.interval.as_secs();
    let first = plan.n + SPARE;
    objects::create(&stage.client, NAMESPACE, first..=first, seconds).await?;
    stage.start_operator()?;
    stage.until("the first reference", WITHIN, |seen| seen.ready() == 1).await?;
    let samples = one_by_one(stage, plan).await?;
    stage.stop_operator().await?;
    Api::<RedisClusterRef>::namespaced(stage.client.clone(), NAMESPACE)
        .delete(&objects::name(first), &DeleteParams::default())
        .await?;
    stage.until("no reference", WITHIN, |seen| seen.ready() == 0).await?;
    let p99 = percentile(&samples, 0.99);
    stage.newcomer_alone = Some(p99);
    Ok(vec![
        Figure::new("new reference with 1 present, p50", 1000.0 * percentile(&samples, 0.5), "ms"),
        Figure::new("new reference with 1 present, p99", 1000.0 * p99, "ms"),
    ])
}

/// With all references present.
pub async fn among_all(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    if !stage.has_operator() {
        return Err(BenchError::NotStarted);
    }
    let samples = one_by_one(stage, plan).await?;
    let p99 = percentile(&samples, 0.99);
    let name = format!("new reference with {} present, p99", plan.n);
    let mut figures = vec![
        Figure::new(format!("new reference with {} present, p50", plan.n), 1000.0 * percentile(&samples, 0.5), "ms"),
        Figure::new(name, 1000.0 * p99, "ms"),
    ];
    if let Some(alone) = stage.newcomer_alone {
        figures.push(Figure::new("… of that with 1 present", 100.0 * p99 / alone, "%").at_most(150.0));
    }
    Ok(figures)
}

/// Creates references one after the other, each when the one before it is Ready; removes them all at the end.
async fn one_by_one(stage: &Stage, plan: &Plan) -> Result<Vec<Duration>, BenchError> {
    let api: Api<RedisClusterRef> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let before = stage.seen.ready();
    let numbers = plan.n + 1..=plan.n + plan.samples();
    let mut samples = Vec::new();
    for number in numbers.clone() {
        let reference = objects::reference(number, plan.interval.as_secs())?;
        let name = objects::name(number);
        let begun = Instant::now();
        api.create(&PostParams::default(), &reference).await?;
        stage.until(&name, WITHIN, |seen| seen.look(&name).is_some_and(|look| look.ready)).await?;
        samples.push(begun.elapsed());
    }
    let gone: Vec<_> = futures::stream::iter(numbers)
        .map(|number| {
            let api = api.clone();
            async move { api.delete(&objects::name(number), &DeleteParams::default()).await.map(drop) }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    gone.into_iter().collect::<Result<(), _>>()?;
    stage.until("the new references' end", WITHIN, |seen| seen.ready() == before).await?;
    Ok(samples)
}
