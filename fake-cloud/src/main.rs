//! `fake-cloud`: both clouds on one port, the admin API on another.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser;
use fake_cloud::{Addresses, FakeCloud, Seed};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A stateful stand-in for the Redis services of KakaoCloud and NAVER Cloud Platform.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where both clouds listen; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:18080")]
    addr: SocketAddr,

    /// Where the admin API listens [default: the port after that of --addr]
    #[arg(long, value_name = "ADDR")]
    admin_addr: Option<SocketAddr>,

    /// Credentials, clusters and instances to start with, as YAML or JSON
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,

    /// Listen on addresses other computers can reach; there is no protection whatsoever
    #[arg(long)]
    allow_remote: bool,

    /// What to log on stderr, for example "info" for every request
    #[arg(long, value_name = "FILTER", env = "FAKE_CLOUD_LOG", default_value = "warn")]
    log_filter: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fake-cloud: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_filter).map_err(|error| anyhow!("--log-filter: {error}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let seed = args.seed.as_deref().map_or_else(|| Ok(Seed::default()), Seed::load)?;
    let addresses = Addresses {
        clouds: args.addr,
        admin: args.admin_addr.map_or_else(|| next_port(args.addr), Ok)?,
        allow_remote: args.allow_remote,
    };
    // Before the addresses are told: who reads them may stop the program at once.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let fake = FakeCloud::start_at(seed, addresses).await?;
    writeln!(io::stdout(), "fake-cloud: {fake}")?;
    io::stdout().flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The port after an address's; any free one if that is any free one.
fn next_port(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let port = match address.port() {
        0 => 0,
        port => port.checked_add(1).context("there is no port after 65535; name one with --admin-addr")?,
    };
    Ok(SocketAddr::new(address.ip(), port))
}
