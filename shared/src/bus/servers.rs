//! Where NATS is, and who signs in there. Names and passwords are taken out of the URLs before the client sees them: async-nats
//! 0.51 does not sign in with them, and logs them.

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret, SecretString};

use super::config::shown_url;

/// The servers of one `nats.url`.
#[derive(Debug)]
pub struct Servers {
    /// Without names and passwords.
    pub addresses: Vec<String>,
    user: Option<(String, SecretString)>,
}

impl Servers {
    /// From URLs with commas between them.
    ///
    /// # Errors
    /// In words: where two servers want different credentials, which one connection cannot have.
    pub fn of(url: &str) -> Result<Servers, String> {
        let mut all: Vec<(String, String)> = url.split(',').filter_map(|one| credentials(one.trim())).collect();
        all.dedup();
        if all.len() > 1 {
            return Err("all servers must take the same name and password".to_owned());
        }
        let user = all.pop().map(|(name, password)| (name, SecretString::from(password)));
        let addresses = shown_url(url).replace("://***@", "://");
        Ok(Servers { addresses: addresses.split(',').map(str::to_owned).collect(), user })
    }

    /// Signs in with these options, where somebody does.
    #[must_use]
    pub fn sign_in(&self, options: ConnectOptions) -> ConnectOptions {
        match &self.user {
            Some((token, password)) if password.expose_secret().is_empty() => options.token(token.clone()),
            Some((name, password)) => options.user_and_password(name.clone(), password.expose_secret().to_owned()),
            None => options,
        }
    }
}

/// Name and password, as they were before they were put into the URL. A name alone is a token.
fn credentials(url: &str) -> Option<(String, String)> {
    let rest = url.split_once("://").map_or(url, |(_scheme, rest)| rest);
    let (user, _host) = rest.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    Some((unescaped(name), unescaped(password)))
}

/// `%40` is `@` (RFC 3986, 2.1). What is no such thing stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_taken_out_of_the_urls() {
        let servers = Servers::of("nats://ada:h%40sh@one:4222, ada:h%40sh@two:4222,nats://three").expect("one user");
        assert_eq!(servers.addresses, ["nats://one:4222", "nats://two:4222", "nats://three"]);
        let (name, password) = servers.user.as_ref().expect("somebody signs in");
        assert_eq!((name.as_str(), password.expose_secret()), ("ada", "h@sh"));
        assert!(!format!("{servers:?}").contains("h@sh"));
        assert!(Servers::of("nats://one").expect("plain").user.is_none());
        Servers::of("nats://ada:a@one,nats://ada:b@two").expect_err("two passwords");
    }
}
