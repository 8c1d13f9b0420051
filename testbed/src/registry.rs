//! A registry of images and charts, for rehearsals of what is published.

use std::time::Duration;

use crate::assets::{self, Program};
use crate::error::TestbedError;
use crate::process::{DataFolder, ServerProcess};
use crate::server::wait_for;

/// How long it may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What it says once it listens, before the address.
const LISTENING: &str = "listening on ";

/// A registry on a loopback port of its own, over plain HTTP, that keeps everything in memory. Dropping it stops it.
pub struct ImageRegistry {
    // In the order of their end: the folder goes last.
    _server: ServerProcess,
    _folder: DataFolder,
    address: String,
}

impl ImageRegistry {
    /// Starts a registry, building it the first time.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start() -> Result<Self, TestbedError> {
        let program = assets::ensure(Program::Registry).await?;
        let folder = DataFolder::create()?;
        let mut server = ServerProcess::start(Program::Registry.name(), &[program.into_os_string()], &folder)?;
        let log = server.log_path();
        let address = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().find_map(|line| line.strip_prefix(LISTENING)).map(str::to_owned)
        };
        let listens = || async { address().map(drop).ok_or_else(|| "it does not say where it listens".to_owned()) };
        wait_for(&mut server, READY_WITHIN, listens).await?;
        let address = address().unwrap_or_default();
        Ok(Self { _server: server, _folder: folder, address })
    }

    /// Host and port, as they stand in the name of an image.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl std::fmt::Debug for ImageRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ImageRegistry").field(&self.address).finish()
    }
}
