//! TLS in front of the sandbox, with the functions' own implementation of it.

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::Path, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use sandbox::server::{self, Server};

use crate::scene::Scene;

/// Services that have a host of their own. Both kinds of load balancers share one.
const HOSTS: [&[&str]; 3] = [&["EC2"], &["ELASTIC_LOAD_BALANCING", "ELASTIC_LOAD_BALANCING_V2"], &["SQS"]];

/// A simulated AWS with a host for each of its services.
pub(crate) struct Hosts {
    /// Without TLS.
    pub(crate) inner: Server,
    fronts: Vec<Front>,
}

impl Hosts {
    /// Opens the hosts of a scene's AWS.
    pub(crate) async fn open(scene: &Scene, certificates: &Path) -> Result<Self, String> {
        let told = |error: io::Error| error.to_string();
        let inner = server::serve(&scene.sandbox, ([127, 0, 0, 1], 0)).await.map_err(told)?;
        let acceptor = acceptor(certificates)?;
        let mut fronts = Vec::new();
        for _ in HOSTS {
            fronts.push(Front::open(acceptor.clone(), &inner).await.map_err(told)?);
        }
        Ok(Self { inner, fronts })
    }

    /// The variables that say where the services are.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let of_host = |(services, front): (&&[&str], &Front)| {
            let url = front.url();
            services.iter().map(|service| (format!("AWS_ENDPOINT_URL_{service}"), url.clone())).collect::<Vec<_>>()
        };
        HOSTS.iter().zip(&self.fronts).flat_map(of_host).collect()
    }
}

/// One host of AWS: a port, since a pool of connections is by host and port. Ends when it is dropped.
struct Front {
    port: u16,
    task: JoinHandle<()>,
}

impl Front {
    /// Opens a host in front of the sandbox.
    async fn open(acceptor: TlsAcceptor, behind: &Server) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, behind) = (listener.local_addr()?.port(), behind.address());
        let task = tokio::spawn(async move {
            // Ends its tasks with this one.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // As AWS's: what is small goes out at once.
                    stream.set_nodelay(true)?;
                    let mut inner = TcpStream::connect(behind).await?;
                    inner.set_nodelay(true)?;
                    let mut outer = acceptor.accept(stream).await?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Ok(Self { port, task })
    }

    /// What the variable of its service has to be.
    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The server's side, with the certificate that was made for this run.
fn acceptor(certificates: &Path) -> Result<TlsAcceptor, String> {
    let (certificate, key) = (certificates.join("server.pem"), certificates.join("server.key"));
    let told = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| told(&certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| told(&key, &error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let config = config.map_err(|error| told(&certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
