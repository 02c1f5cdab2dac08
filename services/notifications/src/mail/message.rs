//! A letter as a mail by RFC 5322. Every try of a letter gives the same bytes.

use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::{Address, Message};

use crate::domain::Trouble;
use crate::letter::Letter;

/// Writes the mail. No letter can add a header or a recipient: lettre's types take an address that is one address,
/// and encode what is in a header.
pub fn write(from: &Mailbox, letter: &Letter) -> Result<Message, Trouble> {
    let recipient: Address = letter.recipient.parse().map_err(|_| Trouble::BadAddress)?;
    let micros = u64::try_from(letter.time_us).unwrap_or(0);
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, recipient))
        .subject(&letter.subject)
        .message_id(Some(letter.message_id.clone()))
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
        .header(ContentType::TEXT_PLAIN)
        .body(letter.body.clone())
        .map_err(|_| Trouble::BadAddress)?;
    // RFC 3834: nobody's absence notice is to answer it.
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}
