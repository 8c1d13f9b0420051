//! etcd and kube-apiserver, started, asked, restarted and stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::net::{TcpSocket, UnixStream};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::access::{Access, Endpoint};
use crate::arguments::{ETCD_DATA, ETCD_SOCKET, TOKENS, apiserver_args, etcd_args, with_nodes, without_nodes};
use crate::assets::{self, Program};
use crate::certificates::Certificates;
use crate::error::TestbedError;
use crate::namespace::TestNamespace;
use crate::process::{DataFolder, ServerProcess};
use crate::sandbox::Sandbox;

/// Folder of what was saved of etcd, in the data folder.
const ETCD_SAVED: &str = "etcd-saved";
/// Pause between two looks at a server that is starting.
const POLL: Duration = Duration::from_millis(25);
/// How long one look may take.
const PROBE: Duration = Duration::from_secs(2);

/// How a test server is to be. The default suits most tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// Users beside the administrator. They may do what RBAC lets them: at first, next to nothing.
    pub users: Vec<User>,
    /// Further flags for kube-apiserver. Of a flag that is given twice the last one counts, unless it takes a list.
    pub apiserver_args: Vec<String>,
    /// How long each of the two servers may take to become ready.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        // Two seconds are the rule. A machine that compiles meanwhile is slower, but not by this much.
        Self { users: Vec::new(), apiserver_args: Vec::new(), ready_within: Duration::from_secs(120) }
    }
}

/// A user the API server knows by a static token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name that RBAC subjects of kind `User` refer to.
    pub name: String,
    /// The names that RBAC subjects of kind `Group` refer to, without the implied `system:authenticated`.
    pub groups: Vec<String>,
}

/// A running etcd and kube-apiserver. Dropping it stops them and removes their data.
pub struct ApiServer {
    // In the order of their end: the folder goes last.
    apiserver: ServerProcess,
    etcd: ServerProcess,
    folder: DataFolder,
    /// Keeps the port from being given to anybody else, on the machine's own loopback.
    _reserved: Option<TcpSocket>,
    command: Vec<OsString>,
    etcd_command: Vec<OsString>,
    certificates: Certificates,
    ready_within: Duration,
    endpoint: Endpoint,
    admin: Access,
    users: BTreeMap<String, Access>,
}

impl ApiServer {
    /// Starts a server and waits until it answers. The first time on a machine this builds etcd and kube-apiserver,
    /// which takes some minutes and says so on stderr.
    ///
    /// # Errors
    /// [`TestbedError::Assets`] if a program is neither there nor can be built; [`TestbedError::Ended`] and
    /// [`TestbedError::NotReady`], with the end of the log, if one does not start.
    pub async fn start(options: Options) -> Result<Self, TestbedError> {
        Self::start_in(DataFolder::create()?, None, options).await
    }

    /// Starts a server with its data in `folder`: on the machine's loopback, or inside a sandbox that was made with the
    /// same folder, at the address at which both the machine and pods reach it.
    pub(crate) async fn start_in(
        folder: DataFolder,
        sandbox: Option<&Sandbox>,
        options: Options,
    ) -> Result<Self, TestbedError> {
        let folders = assets::Folders::from_env()?;
        let etcd_executable = folders.ensure(Program::Etcd).await?;
        let executable = folders.ensure(Program::KubeApiserver).await?;

        let (reserved, address) = match sandbox {
            None => reserve_port().map(|(socket, address)| (Some(socket), address)).map_err(TestbedError::Port)?,
            Some(sandbox) => (None, (sandbox.address(), SANDBOX_PORT).into()),
        };
        let certificates = Certificates::create(folder.path(), address.ip())?;
        let endpoint = Endpoint {
            url: format!("https://{address}").parse()?,
            ca_pem: certificates.ca_pem.clone(),
            ca_der: certificates.ca_der.clone(),
        };
        let (admin, users) = accesses(&endpoint, &options.users, folder.path())?;
        let mut args = apiserver_args(folder.path(), address, &certificates);
        args.extend(if sandbox.is_some() { with_nodes() } else { without_nodes() });
        args.extend(options.apiserver_args.iter().map(Into::into));
        let within = |executable: PathBuf, args: Vec<OsString>| {
            let command = std::iter::once(executable.into_os_string()).chain(args);
            match sandbox {
                None => command.collect(),
                Some(sandbox) => sandbox.enter(command),
            }
        };

        let etcd_command = within(etcd_executable, etcd_args(folder.path()));
        let etcd = start_etcd(&etcd_command, &folder, options.ready_within).await?;
        let command = within(executable, args);
        let apiserver = ServerProcess::start(Program::KubeApiserver.name(), &command, &folder)?;
        let mut server = Self {
            apiserver,
            etcd,
            folder,
            _reserved: reserved,
            command,
            etcd_command,
            certificates,
            ready_within: options.ready_within,
            endpoint,
            admin,
            users,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The one server that all tests of this process share, started by the first who asks, with default options. Tests
    /// keep apart by [`ApiServer::namespace`]. It ends with the process.
    ///
    /// # Errors
    /// As [`ApiServer::start`]; the next call tries again.
    pub async fn shared() -> Result<&'static Self, TestbedError> {
        static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// Address of the API server, `https://127.0.0.1:PORT/` unless it belongs to a [`NodeCluster`](crate::NodeCluster).
    #[must_use]
    pub fn url(&self) -> String {
        self.endpoint.url.to_string()
    }

    /// The temporary folder with the server's data, keys and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder, for further programs that log into it.
    pub(crate) fn data(&self) -> &DataFolder {
        &self.folder
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The administrator's access: user `admin` of group `system:masters`, who may do everything.
    #[must_use]
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// A new administrator's client, for the current Tokio runtime: [`Access::client`].
    ///
    /// # Errors
    /// As [`Access::client`].
    pub fn client(&self) -> Result<kube::Client, TestbedError> {
        self.admin.client()
    }

    /// The administrator's configuration: [`Access::config`].
    #[must_use]
    pub fn config(&self) -> kube::Config {
        self.admin.config()
    }

    /// The administrator's kubeconfig file: [`Access::kubeconfig_path`].
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        self.admin.kubeconfig_path()
    }

    /// Access as one of [`Options::users`].
    ///
    /// # Errors
    /// [`TestbedError::UnknownUser`] if the server was started without that user.
    pub fn user(&self, name: &str) -> Result<&Access, TestbedError> {
        self.users.get(name).ok_or_else(|| TestbedError::UnknownUser(name.to_owned()))
    }

    /// Access as a service account, which is created unless it is there. It may do what RBAC lets it, as a program in
    /// a pod does. The token is valid for an hour.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] if the account or its token is refused, for one if there is no such namespace;
    /// [`TestbedError::Write`] if the kubeconfig cannot be written.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Access, TestbedError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        match accounts.create(&PostParams::default(), &account).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error.into()),
        }
        let request = TokenRequest { spec: Some(TokenRequestSpec::default()), ..TokenRequest::default() };
        let issued = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let Some(token) = issued.status.and_then(|status| status.token) else {
            return Err(TestbedError::NoToken(user));
        };
        let kubeconfig = self.folder().join(format!("kubeconfig-{namespace}-{name}-{}", random_suffix()));
        Access::create(&self.endpoint, &user, token, kubeconfig)
    }

    /// A new namespace, its name `PREFIX-` and a random suffix. Nothing has to delete it: it goes with the server.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] if it cannot be created, for one if the prefix does not suit a name.
    pub async fn namespace(&self, prefix: &str) -> Result<TestNamespace, TestbedError> {
        let client = self.client()?;
        let name = format!("{prefix}-{}", random_suffix());
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = NamespaceObject { metadata, ..NamespaceObject::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(TestNamespace::new(name, client))
    }

    /// Path of a kubectl of the server's version, built if need be.
    ///
    /// # Errors
    /// [`TestbedError::Assets`] if it is neither there nor can be built.
    pub async fn kubectl_path(&self) -> Result<PathBuf, TestbedError> {
        Ok(assets::ensure(Program::Kubectl).await?)
    }

    /// A kubectl command as the administrator, to which a test adds its arguments. It leaves nothing in the user's home.
    ///
    /// # Errors
    /// As [`ApiServer::kubectl_path`].
    pub async fn kubectl(&self) -> Result<Command, TestbedError> {
        let mut command = Command::new(self.kubectl_path().await?);
        command.arg("--kubeconfig").arg(self.kubeconfig_path());
        command.arg("--cache-dir").arg(self.folder().join("kubectl-cache"));
        command.kill_on_drop(true);
        Ok(command)
    }

    /// Kills kube-apiserver and starts it again, on the same port and data, and waits until it answers. Meanwhile
    /// clients see refused and broken connections, as in the upgrade of a control plane that is not highly available.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub async fn restart_apiserver(&mut self) -> Result<(), TestbedError> {
        self.apiserver.kill();
        self.apiserver = ServerProcess::start(Program::KubeApiserver.name(), &self.command, &self.folder)?;
        self.wait_until_ready().await
    }

    /// Saves what is in etcd, for [`ApiServer::restore_etcd`]. Both servers are down meanwhile.
    ///
    /// # Errors
    /// As [`ApiServer::start`]; [`TestbedError::Write`] if the data cannot be copied.
    pub async fn save_etcd(&mut self) -> Result<(), TestbedError> {
        self.replace_etcd(ETCD_DATA, ETCD_SAVED).await
    }

    /// Restores what [`ApiServer::save_etcd`] saved, as an administrator does after a disaster: objects and revisions go
    /// back to what they were. Both servers are down meanwhile.
    ///
    /// # Errors
    /// As [`ApiServer::save_etcd`].
    pub async fn restore_etcd(&mut self) -> Result<(), TestbedError> {
        self.replace_etcd(ETCD_SAVED, ETCD_DATA).await
    }

    /// Stops both servers, copies one folder of etcd over the other, and starts them again.
    async fn replace_etcd(&mut self, from: &str, to: &str) -> Result<(), TestbedError> {
        self.apiserver.kill();
        self.etcd.kill();
        let (from, to) = (self.folder().join(from), self.folder().join(to));
        replace_folder(&from, &to).map_err(TestbedError::write(&to))?;
        self.etcd = start_etcd(&self.etcd_command, &self.folder, self.ready_within).await?;
        self.apiserver = ServerProcess::start(Program::KubeApiserver.name(), &self.command, &self.folder)?;
        self.wait_until_ready().await
    }

    /// Stops both servers and removes their data; all is gone when this returns. Dropping the value does the same.
    pub async fn stop(self) {
        // A cancelled or failed wait leaves it to the shells to finish the work: the pipes are closed either way.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    async fn wait_until_ready(&mut self) -> Result<(), TestbedError> {
        let mut config = self.admin.config();
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        wait_for(&mut self.apiserver, self.ready_within, || probe_api(client.clone())).await
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("url", &self.url()).field("folder", &self.folder()).finish_non_exhaustive()
    }
}

/// Starts etcd and waits until it listens.
async fn start_etcd(
    command: &[OsString],
    folder: &DataFolder,
    within: Duration,
) -> Result<ServerProcess, TestbedError> {
    let socket = folder.path().join(ETCD_SOCKET);
    // One that was killed leaves its socket behind, on which nobody listens.
    let _ = std::fs::remove_file(&socket);
    let mut etcd = ServerProcess::start(Program::Etcd.name(), command, folder)?;
    wait_for(&mut etcd, within, || probe_socket(&socket)).await?;
    Ok(etcd)
}

/// Makes `to` a copy of the folder `from`.
fn replace_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    copy_folder(from, to)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            std::fs::copy(entry.path(), copy)?;
        }
    }
    // etcd insists on it.
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())
}

/// Port of an API server in a sandbox, where no other program can have taken it.
const SANDBOX_PORT: u16 = 6443;
/// A free loopback port, and the socket that keeps it. The kernel gives a bound port to no other program, except to
/// one that binds it by number with `SO_REUSEPORT`, as kube-apiserver does; this socket never listens, so it gets no connections.
fn reserve_port() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Gives the administrator and `users` a token each, and writes the token file and their kubeconfigs.
fn accesses(
    endpoint: &Endpoint,
    users: &[User],
    folder: &Path,
) -> Result<(Access, BTreeMap<String, Access>), TestbedError> {
    let token = || format!("{:032x}", rand::random::<u128>());
    let admin = User { name: "admin".to_owned(), groups: vec!["system:masters".to_owned()] };
    let admin_token = token();
    let mut lines = token_line(&admin_token, &admin);
    let admin = Access::create(endpoint, &admin.name, admin_token, folder.join("kubeconfig"))?;
    let mut others = BTreeMap::new();
    for (index, user) in users.iter().enumerate() {
        let token = token();
        lines += &token_line(&token, user);
        let path = folder.join(format!("kubeconfig-user-{index}"));
        others.insert(user.name.clone(), Access::create(endpoint, &user.name, token, path)?);
    }
    let path = folder.join(TOKENS);
    std::fs::write(&path, lines).map_err(TestbedError::write(&path))?;
    Ok((admin, others))
}

/// A line of a static token file: token, user, UID, groups
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file>).
fn token_line(token: &str, user: &User) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let name = quoted(&user.name);
    format!("{token},{name},{name},{}\n", quoted(&user.groups.join(",")))
}

/// Waits until `probe` succeeds, the server ends or `bound` is over.
pub(crate) async fn wait_for<F>(
    server: &mut ServerProcess,
    bound: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<(), TestbedError>
where
    F: Future<Output = Result<(), String>>,
{
    let started = Instant::now();
    let program = server.name().to_owned();
    loop {
        let answer = match tokio::time::timeout(PROBE, probe()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(answer)) => answer,
            Err(_) => "none".to_owned(),
        };
        if let Some(status) = server.ended()? {
            return Err(TestbedError::Ended { program, status, log: server.log() });
        }
        if started.elapsed() >= bound {
            return Err(TestbedError::NotReady { program, bound, answer, log: server.log() });
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(crate) async fn probe_socket(path: &Path) -> Result<(), String> {
    UnixStream::connect(path).await.map(drop).map_err(|error| error.to_string())
}

/// `/readyz` says that all start-up hooks have run, such as those that make the default RBAC roles. The namespace
/// `default` is made by a controller of kube-apiserver that no hook waits for.
async fn probe_api(client: kube::Client) -> Result<(), String> {
    let readyz = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    client.request_text(readyz).await.map_err(|error| error.to_string())?;
    Api::<NamespaceObject>::all(client).get("default").await.map(drop).map_err(|error| error.to_string())
}

/// Ten characters that keep parallel tests apart.
fn random_suffix() -> String {
    format!("{:010x}", rand::random::<u64>() >> 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_lines_quote_what_they_must() {
        let user = User { name: "jane \"j\" doe, sre".to_owned(), groups: vec!["dev".to_owned(), "ops".to_owned()] };
        let expected = "t0ken,\"jane \"\"j\"\" doe, sre\",\"jane \"\"j\"\" doe, sre\",\"dev,ops\"\n";
        assert_eq!(token_line("t0ken", &user), expected);
    }

    #[test]
    fn a_reserved_port_can_be_shared_but_not_taken() {
        let (_reserved, address) = reserve_port().unwrap();
        let taken = std::net::TcpListener::bind(address).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        let sharing = TcpSocket::new_v4().unwrap();
        sharing.set_reuseport(true).unwrap();
        sharing.bind(address).unwrap();
    }
}
