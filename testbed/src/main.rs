//! `testbed`: a throw-away Kubernetes API server on the command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{ApiServer, Options, Program, TestbedError, assets};
use tokio::signal::unix::{SignalKind, signal};

/// A throw-away Kubernetes API server (etcd and kube-apiserver, no nodes) for tests and demonstrations.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a server, print how to reach it, and keep it until Ctrl-C
    Up,
    /// Make sure that programs are there, building them if need be, and print their paths
    Assets {
        /// The programs
        #[arg(default_values_t = [Program::Etcd, Program::KubeApiserver, Program::Kubectl])]
        programs: Vec<Program>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Action::Up => up().await,
        Action::Assets { programs } => print_assets(&programs).await,
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

async fn up() -> Result<(), TestbedError> {
    let failed = |source| TestbedError::Process { program: "testbed", source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = std::pin::pin!(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let server = tokio::select! {
        server = ApiServer::start(Options::default()) => server?,
        () = &mut interrupted => return Ok(()),
    };
    print(format_args!("export KUBECONFIG={}", server.kubeconfig_path().display()));
    let _ = writeln!(std::io::stderr(), "testbed: {} is ready; Ctrl-C stops it and removes its data", server.url());
    interrupted.await;
    server.stop().await;
    Ok(())
}

async fn print_assets(programs: &[Program]) -> Result<(), TestbedError> {
    for program in programs {
        print(format_args!("{}", assets::ensure(*program).await?.display()));
    }
    Ok(())
}
