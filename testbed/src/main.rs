//! `testbed`: a throw-away Kubernetes API server on the command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{ApiServer, ClusterOptions, NodeCluster, Options, Program, TestbedError, assets};
use tokio::signal::unix::{SignalKind, signal};

/// A throw-away Kubernetes for tests and demonstrations: an API server, or a whole cluster that runs pods.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: TestbedCommand,
}

#[derive(Subcommand)]
enum TestbedCommand {
    /// Start a server, print how to reach it, and keep it until Ctrl-C
    Up,
    /// A cluster with nodes that run pods (Linux, as root)
    #[command(subcommand)]
    Node(NodeAction),
    /// Make sure that programs are there, building them if need be, and print their paths
    Assets {
        /// The programs
        #[arg(default_values_t = [Program::Etcd, Program::KubeApiserver, Program::Kubectl])]
        programs: Vec<Program>,
    },
}

#[derive(Subcommand)]
enum NodeAction {
    /// Start a cluster, print how to reach it, and keep it until Ctrl-C
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
        nodes: u16,
        /// An image archive to give to the nodes (repeatable)
        #[arg(long = "image", value_name = "ARCHIVE")]
        images: Vec<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        TestbedCommand::Up => up().await,
        TestbedCommand::Node(NodeAction::Up { nodes, images }) => node_up(nodes, &images).await,
        TestbedCommand::Assets { programs } => print_assets(&programs).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on stdout. A reader that has gone away is no reason to stop the server.
fn print(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Completes at SIGINT or SIGTERM.
fn interrupted() -> Result<impl Future<Output = ()>, TestbedError> {
    let failed = |source| TestbedError::Process { program: "testbed".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Says how a server is reached, to shells on stdout and to people on stderr.
fn announce(server: &ApiServer) {
    print(format_args!("export KUBECONFIG={}", server.kubeconfig_path().display()));
    let _ = writeln!(std::io::stderr(), "testbed: {} is ready; Ctrl-C stops it and removes its data", server.url());
}

async fn up() -> Result<(), TestbedError> {
    let mut interrupted = std::pin::pin!(interrupted()?);
    let server = tokio::select! {
        server = ApiServer::start(Options::default()) => server?,
        () = &mut interrupted => return Ok(()),
    };
    announce(&server);
    interrupted.await;
    server.stop().await;
    Ok(())
}

async fn node_up(nodes: u16, images: &[PathBuf]) -> Result<(), TestbedError> {
    let mut interrupted = std::pin::pin!(interrupted()?);
    let start = async {
        let cluster = NodeCluster::start(ClusterOptions { nodes, ..ClusterOptions::default() }).await?;
        for image in images {
            cluster.import_image(image).await?;
        }
        Ok::<_, TestbedError>(cluster)
    };
    let cluster = tokio::select! {
        cluster = start => cluster?,
        () = &mut interrupted => return Ok(()),
    };
    announce(cluster.api());
    interrupted.await;
    cluster.stop().await;
    Ok(())
}

async fn print_assets(programs: &[Program]) -> Result<(), TestbedError> {
    for program in programs {
        print(format_args!("{}", assets::ensure(*program).await?.display()));
    }
    Ok(())
}
