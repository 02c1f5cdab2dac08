//! What verbs print: tables for people, JSON for programs, failures on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use comfy_table::{Table, presets};
use owo_colors::{OwoColorize, Style};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::Serialize;
use serde_json::{Value, json};
use spillway_proto::DESCRIPTOR_SET;

use crate::cli::Format;
use crate::exit::{Exit, Failure};

/// Whoever reads what went wrong has read it after this long.
const UNREAD: Duration = Duration::from_secs(1);

/// Where and how to print. Cheap to clone.
#[derive(Clone)]
pub struct Output {
    format: Format,
    is_coloured: bool,
    contract: DescriptorPool,
}

impl Output {
    pub fn new(format: Format, no_color: bool) -> Output {
        // https://no-color.org: set to anything but nothing.
        let is_forbidden = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output {
            format,
            is_coloured: !is_forbidden && io::stdout().is_terminal(),
            contract: DescriptorPool::decode(DESCRIPTOR_SET).expect("the contract was compiled into this build"),
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether to draw progress: for people, and where one looks on.
    pub fn shows_progress(&self) -> bool {
        self.format == Format::Table && io::stderr().is_terminal()
    }

    /// Prints text as it is.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Prints one JSON document on a line of its own.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.text(&format!("{}\n", to_json(value)?))
    }

    /// Prints a JSON document that people read too.
    pub fn document(&self, value: &Value) -> Result<(), Failure> {
        self.text(&format!("{value:#}\n"))
    }

    /// Prints a table, without a header where it is empty.
    pub fn table(&self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        self.text(&table(header, rows))
    }

    /// Text in a colour, where there are colours.
    pub fn paint(&self, text: &str, style: Style) -> String {
        if self.is_coloured { text.style(style).to_string() } else { text.to_owned() }
    }

    /// A message of the contract, by its full name, as ProtoJSON with all its fields. The payloads of events are
    /// resolved; one that this build does not know is left out.
    pub fn to_proto_json(&self, name: &str, message: &impl Message) -> Result<Value, Failure> {
        let descriptor = self.descriptor(name)?;
        let bytes = message.encode_to_vec();
        let message = DynamicMessage::decode(descriptor, bytes.as_slice())
            .map_err(|error| Failure::failed(format!("{name} cannot be read: {error}")))?;
        let options = SerializeOptions::new().skip_default_fields(false);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|error| Failure::failed(format!("{name} cannot be shown as JSON: {error}")))
    }

    /// Prints a message as one line of ProtoJSON.
    pub fn message(&self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.json(&self.to_proto_json(name, message)?)
    }

    /// Reads a message of the contract from ProtoJSON; a field that it does not have is a mistake.
    pub fn from_proto_json<M: Message + Default>(&self, name: &str, text: &str) -> Result<M, Failure> {
        let descriptor = self.descriptor(name)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = DynamicMessage::deserialize(descriptor, &mut json).and_then(|message| {
            json.end()?;
            Ok(message)
        });
        let message = read.map_err(|error| Failure::usage(format!("not a {name} in ProtoJSON: {error}")))?;
        message.transcode_to().map_err(|error| Failure::failed(format!("{name} cannot be read: {error}")))
    }

    /// Whether the contract has a message of this name: the part of a type URL behind its slash.
    pub fn knows(&self, type_url: &str) -> bool {
        type_url.rsplit('/').next().is_some_and(|name| self.contract.get_message_by_name(name).is_some())
    }

    fn descriptor(&self, name: &str) -> Result<MessageDescriptor, Failure> {
        let found = self.contract.get_message_by_name(name);
        found.ok_or_else(|| Failure::failed(format!("this build has no message {name}")))
    }

    /// Tells a failure on standard error; the exit code is for the end of the program.
    pub fn report(&self, failure: &Failure) -> Exit {
        let Some(error) = &failure.error else { return failure.exit };
        let text = match self.format {
            Format::Json => json!({ "error": error }).to_string(),
            Format::Table => {
                let mut text = format!("error: {}", printable(&error.message));
                for violation in &error.violations {
                    let separator = if violation.field.is_empty() { "" } else { ": " };
                    let (field, description) = (printable(&violation.field), printable(&violation.description));
                    text.push_str(&format!("\n  {field}{separator}{description}"));
                }
                text
            }
        };
        // A full pipe must not keep a program that has come to its end.
        let (done, told) = mpsc::channel();
        std::thread::spawn(move || {
            if let Err(closed) = writeln!(io::stderr().lock(), "{text}") {
                tracing::debug!(error = %closed, "nobody reads what went wrong");
            }
            drop(done);
        });
        // Told, or not read in time: both are the end of it.
        let _ended: Result<(), _> = told.recv_timeout(UNREAD);
        failure.exit
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::failed(format!("cannot be shown as JSON: {error}")))
}

/// Columns with two spaces between them, as wide as they must be.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Without characters that steer a terminal; line ends stay.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
