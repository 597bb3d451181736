//! Mail over SMTP. Each address gets a mail of its own, so that one that the server refuses keeps
//! it from nobody else; what they get is the same message, with the same Message-ID.

use super::settings::MailTls;
use crate::tls::Authorities;
use lettre::address::Envelope;
use lettre::message::{Mailbox, Mailboxes, MessageBuilder, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::time::Duration;

/// The server has as long for each word of the protocol.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends mail.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// A mail.
pub(super) struct Letter<'a> {
    /// All who get it.
    pub(super) all: Vec<Mailbox>,
    /// The one who gets it now.
    pub(super) to: &'a Mailbox,
    /// By which it is known; the same when it is repeated.
    pub(super) key: &'a str,
    pub(super) subject: String,
    pub(super) text: String,
}

impl Mailer {
    /// By a server with its port, from somebody, with user and password where it asks for them.
    pub(super) fn new(
        (server, port, tls): (&str, u16, MailTls),
        from: Mailbox,
        password: Option<(String, String)>,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let secured = || {
            let mut parameters =
                TlsParameters::builder(server.to_owned()).certificate_store(CertificateStore::None);
            for der in authorities.each() {
                let certificate = Certificate::from_der(der.to_vec());
                let certificate = certificate.map_err(|error| error.to_string())?;
                parameters = parameters.add_root_certificate(certificate);
            }
            parameters.build_rustls().map_err(|error| format!("`mail.server`: {error}"))
        };
        let tls = match tls {
            MailTls::Starttls => Tls::Required(secured()?),
            MailTls::Tls => Tls::Wrapper(secured()?),
            MailTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server)
            .port(port)
            .tls(tls)
            .timeout(Some(TIMEOUT));
        if let Some((user, password)) = password {
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// Sends a mail; the server has taken it when this returns.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn send(&self, letter: Letter<'_>) -> Result<(), String> {
        let Letter { all, to, key, subject, text } = letter;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]);
        let envelope = envelope.map_err(|error| error.to_string())?;
        let message = MessageBuilder::new()
            .from(self.from.clone())
            .mailbox(header::To::from(Mailboxes::from_iter(all)))
            .subject(subject)
            .message_id(Some(format!("<{key}@{}>", self.from.email.domain())))
            .header(header::ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())?;
        let sent = self.transport.send_raw(&envelope, &message.formatted()).await;
        sent.map(drop).map_err(|error| said(&error))
    }
}

/// An error with its causes, which say what went wrong.
fn said(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !out.contains(&words) {
            out = format!("{out}: {words}");
        }
        cause = inner.source();
    }
    out
}
