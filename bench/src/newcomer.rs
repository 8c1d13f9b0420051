//! How soon a new reference is Ready: first with one other present, later among all of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::StreamExt as _;
use kube::api::{DeleteParams, PostParams};

use super::measure::percentile;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::{BenchRun, SPARE};

const WITHIN: Duration = Duration::from_secs(60);

/// With one other reference present.
pub(crate) async fn alone(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    let seconds = plan.interval.as_secs();
    let first = plan.n + SPARE;
    objects::create(&run.api(), first..=first, seconds).await?;
    run.start_operator()?;
    run.until("the first reference", WITHIN, |seen| seen.ready() == 1).await?;
    let samples = one_by_one(run, plan).await?;
    run.stop_operator().await?;
    run.api().delete(&objects::name(first), &DeleteParams::default()).await?;
    run.until("no reference", WITHIN, |seen| seen.ready() == 0).await?;
    let p99 = percentile(&samples, 0.99);
    run.newcomer_alone = Some(p99);
    Ok(vec![
        Figure::new("new reference with 1 present, p50", 1000.0 * percentile(&samples, 0.5), "ms"),
        Figure::new("new reference with 1 present, p99", 1000.0 * p99, "ms"),
    ])
}

/// With all references present.
pub(crate) async fn among_all(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let samples = one_by_one(run, plan).await?;
    let p99 = percentile(&samples, 0.99);
    let name = format!("new reference with {} present, p99", plan.n);
    let mut figures = vec![
        Figure::new(format!("new reference with {} present, p50", plan.n), 1000.0 * percentile(&samples, 0.5), "ms"),
        Figure::new(name, 1000.0 * p99, "ms"),
    ];
    if let Some(alone) = run.newcomer_alone {
        figures.push(Figure::new("… of that with 1 present", 100.0 * p99 / alone, "%").at_most(150.0));
    }
    Ok(figures)
}

/// Creates references one after the other, each once the one before it is Ready, and deletes them all at the end.
async fn one_by_one(run: &BenchRun, plan: &BenchPlan) -> Result<Vec<Duration>> {
    let api = run.api();
    let before = run.references.ready();
    let numbers = plan.n + 1..=plan.n + plan.samples();
    let mut samples = Vec::new();
    for number in numbers.clone() {
        let reference = objects::reference(number, plan.interval.as_secs())?;
        let name = objects::name(number);
        let begun = Instant::now();
        api.create(&PostParams::default(), &reference).await?;
        run.until(&name, WITHIN, |seen| seen.get(&name).is_some_and(|reference| reference.ready)).await?;
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
    run.until("the new references' end", WITHIN, |seen| seen.ready() == before).await?;
    Ok(samples)
}
