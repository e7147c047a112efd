//! The connection file: where to listen, and the key that signs every message.
//!
//! Format: <https://jupyter-client.readthedocs.io/en/stable/kernels.html#connection-files>

use std::fmt;
use std::path::Path;

use jupyter_protocol::ConnectionInfo;
use serde_json::{Map, Value};

/// How clients reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Five TCP ports on one address.
    Tcp,
    /// Five Unix sockets, each at the path `{ip}-{port}`.
    Ipc,
}

/// A checked connection file. Its `Debug` form hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionFile {
    /// TCP or Unix sockets.
    pub transport: Transport,
    /// The address to bind; a path prefix for [`Transport::Ipc`].
    pub ip: String,
    /// Requests of clients.
    pub shell_port: u16,
    /// Messages published to every client.
    pub iopub_port: u16,
    /// Questions to the user (`input`).
    pub stdin_port: u16,
    /// Urgent requests: interrupt, shutdown, debug.
    pub control_port: u16,
    /// Heartbeat echo.
    pub hb_port: u16,
    /// The HMAC-SHA256 key; empty means that messages are not signed.
    pub key: String,
    /// The kernelspec name that the client used, if it said so.
    pub kernel_name: Option<String>,
}

/// Why a connection file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The file cannot be read.
    #[error(
        "cannot read the connection file {file}: {source}; pass the path that the Jupyter client wrote"
    )]
    Read {
        /// The path as given.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error(
        "the connection file {file} is not a JSON object: {reason}; let the Jupyter client write it again"
    )]
    NotAnObject {
        /// The path as given.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A field is absent or has a value that cannot be used.
    #[error("field `{field}` of the connection file {file}: {reason}")]
    Field {
        /// The path as given.
        file: String,
        /// The name of the field.
        field: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl ConnectionFile {
    /// Reads and checks a connection file.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, or a field is missing or unusable; the message names file and field.
    pub fn load(path: &Path) -> Result<Self, ConnectionError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ConnectionError::Read {
            file: file.clone(),
            source,
        })?;
        Self::parse_named(&bytes, &file)
    }

    /// Checks the text of a connection file.
    ///
    /// # Errors
    /// As [`ConnectionFile::load`], with `(text)` in place of the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConnectionError> {
        Self::parse_named(bytes, "(text)")
    }

    fn parse_named(bytes: &[u8], file: &str) -> Result<Self, ConnectionError> {
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|e| ConnectionError::NotAnObject {
                file: file.to_owned(),
                reason: e.to_string(),
            })?;
        let fields = Fields { file, object };
        fields.refuse_encryption()?;
        let transport = match fields.text("transport")?.unwrap_or("tcp") {
            "tcp" => Transport::Tcp,
            "ipc" => Transport::Ipc,
            other => {
                return Err(fields.wrong(
                    "transport",
                    format!("`{other}` is unknown; use `tcp` or `ipc`"),
                ));
            }
        };
        let scheme = fields.text("signature_scheme")?.unwrap_or("hmac-sha256");
        if scheme != "hmac-sha256" {
            return Err(fields.wrong(
                "signature_scheme",
                format!("`{scheme}` is not supported; use `hmac-sha256`"),
            ));
        }
        let ip = fields.text("ip")?.unwrap_or("").to_owned();
        if ip.is_empty() {
            return Err(fields.wrong(
                "ip",
                "is missing; give the address to listen on, such as 127.0.0.1",
            ));
        }
        let Some(key) = fields.text("key")? else {
            return Err(fields.wrong(
                "key",
                "is missing; give the signing key, or \"\" for unsigned messages",
            ));
        };
        let connection = Self {
            transport,
            ip,
            shell_port: fields.port("shell_port")?,
            iopub_port: fields.port("iopub_port")?,
            stdin_port: fields.port("stdin_port")?,
            control_port: fields.port("control_port")?,
            hb_port: fields.port("hb_port")?,
            key: key.to_owned(),
            kernel_name: fields.text("kernel_name")?.map(str::to_owned),
        };
        connection.refuse_shared_ports(&fields)?;
        Ok(connection)
    }

    fn refuse_shared_ports(&self, fields: &Fields<'_>) -> Result<(), ConnectionError> {
        let mut seen: Vec<(&str, u16)> = Vec::new();
        for (name, port) in self.ports() {
            if let Some((other, _)) = seen.iter().find(|(_, p)| *p == port) {
                return Err(fields.wrong(
                    name,
                    format!("{port} is already `{other}`; the five ports must differ"),
                ));
            }
            seen.push((name, port));
        }
        Ok(())
    }

    /// The five ports with the names of their fields.
    pub fn ports(&self) -> [(&'static str, u16); 5] {
        [
            ("shell_port", self.shell_port),
            ("iopub_port", self.iopub_port),
            ("stdin_port", self.stdin_port),
            ("control_port", self.control_port),
            ("hb_port", self.hb_port),
        ]
    }

    /// The same facts as the type of the protocol crate, for example for its `*_url` functions.
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            ip: self.ip.clone(),
            transport: match self.transport {
                Transport::Tcp => jupyter_protocol::connection_info::Transport::TCP,
                Transport::Ipc => jupyter_protocol::connection_info::Transport::IPC,
            },
            shell_port: self.shell_port,
            iopub_port: self.iopub_port,
            stdin_port: self.stdin_port,
            control_port: self.control_port,
            hb_port: self.hb_port,
            key: self.key.clone(),
            signature_scheme: "hmac-sha256".to_owned(),
            kernel_name: self.kernel_name.clone(),
        }
    }
}

impl fmt::Debug for ConnectionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionFile")
            .field("transport", &self.transport)
            .field("ip", &self.ip)
            .field("ports", &self.ports())
            .field("signed", &!self.key.is_empty())
            .field("kernel_name", &self.kernel_name)
            .finish_non_exhaustive()
    }
}

struct Fields<'a> {
    file: &'a str,
    object: Map<String, Value>,
}

impl Fields<'_> {
    fn wrong(&self, field: &str, reason: impl Into<String>) -> ConnectionError {
        ConnectionError::Field {
            file: self.file.to_owned(),
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    /// CurveZMQ is not spoken here. A client that asked for it must not get plain text instead.
    fn refuse_encryption(&self) -> Result<(), ConnectionError> {
        let asked = self
            .object
            .iter()
            .find(|(name, value)| name.starts_with("curve_") && !value.is_null());
        match asked {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(
                name,
                "asks for an encrypted transport, which this kernel does not have; \
                 set `transport_encryption` to `disabled` in the Jupyter client",
            )),
        }
    }

    fn text(&self, field: &str) -> Result<Option<&str>, ConnectionError> {
        match self.object.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, format!("must be a string, not {other}"))),
        }
    }

    fn port(&self, field: &str) -> Result<u16, ConnectionError> {
        let value = self.object.get(field).unwrap_or(&Value::Null);
        match value
            .as_u64()
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| *n > 0)
        {
            Some(port) => Ok(port),
            None if value.is_null() => {
                Err(self.wrong(field, "is missing; the Jupyter client chooses the ports"))
            }
            None => Err(self.wrong(
                field,
                format!("must be a number from 1 to 65535, not {value}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good() -> Map<String, Value> {
        let text = r#"{"transport":"tcp","ip":"127.0.0.1","shell_port":1,"iopub_port":2,"stdin_port":3,
            "control_port":4,"hb_port":5,"key":"secret","signature_scheme":"hmac-sha256","kernel_name":"k","jupyter_session":""}"#;
        serde_json::from_str(text).unwrap()
    }

    fn parse(object: &Map<String, Value>) -> Result<ConnectionFile, ConnectionError> {
        ConnectionFile::parse(&serde_json::to_vec(object).unwrap())
    }

    #[test]
    fn a_file_of_jupyter_client_is_accepted_with_its_unknown_keys() {
        let file = parse(&good()).unwrap();
        assert_eq!(file.transport, Transport::Tcp);
        assert_eq!(file.kernel_name.as_deref(), Some("k"));
        assert_eq!(file.info().iopub_url(), "tcp://127.0.0.1:2");
    }

    #[test]
    fn every_refusal_names_the_field() {
        let table: [(&str, Value, &str); 13] = [
            ("transport", "udp".into(), "`tcp` or `ipc`"),
            ("transport", 4.into(), "must be a string"),
            ("ip", Value::Null, "address"),
            ("ip", "".into(), "address"),
            ("shell_port", Value::Null, "missing"),
            ("iopub_port", 0.into(), "1 to 65535"),
            ("stdin_port", 65536.into(), "1 to 65535"),
            ("control_port", (-1).into(), "1 to 65535"),
            ("hb_port", "5".into(), "1 to 65535"),
            ("hb_port", 4.into(), "must differ"),
            ("key", Value::Null, "missing"),
            ("signature_scheme", "hmac-md5".into(), "hmac-sha256"),
            ("curve_publickey", "x".into(), "transport_encryption"),
        ];
        for (field, value, part) in table {
            let mut object = good();
            object.insert(field.to_owned(), value);
            let message = parse(&object).unwrap_err().to_string();
            assert!(
                message.contains(&format!("`{field}`")) && message.contains(part),
                "{message}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = ConnectionFile::load(Path::new("no/such.json"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("no/such.json"), "{message}");
    }

    #[test]
    fn the_key_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", parse(&good()).unwrap()).contains("secret"));
    }

    proptest! {
        #[test]
        fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ConnectionFile::parse(&bytes);
        }
    }
}
