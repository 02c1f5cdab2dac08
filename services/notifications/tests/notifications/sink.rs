//! A mail server for tests: it speaks SMTP over TCP, keeps what it is given, and misbehaves when told to.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Accept,
    /// Answers the recipient with this.
    Reply(&'static str),
    /// Takes the mail and never answers.
    TakeAndHang,
    /// Takes the mail and closes the connection without an answer.
    TakeAndClose,
    /// Takes the mail, says so, and closes the connection.
    TakeAndLeave,
    /// Answers nothing at all after the greeting.
    Deaf,
    /// Refuses whoever signs in.
    NoAuth,
}

/// A mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
}

/// What the server has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub mails: Vec<Mail>,
    /// First words of all commands.
    pub commands: Vec<String>,
    /// What was signed in with, as it was sent.
    pub auth: Vec<String>,
    pub connections: usize,
    pub open: usize,
    pub most_open: usize,
}

/// A port that is taken but not served yet: whoever connects is refused.
pub struct Closed {
    socket: TcpSocket,
    pub address: SocketAddr,
}

pub struct Sink {
    pub address: SocketAddr,
    pub mode: watch::Sender<Mode>,
    pub seen: watch::Receiver<Seen>,
    _serving: JoinSet<()>,
}

impl Closed {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = socket.local_addr().expect("bound");
        Closed { socket, address }
    }

    /// Begins to serve.
    pub fn open(self, mode: Mode) -> Sink {
        let listener = self.socket.listen(64).expect("listens");
        let mode = watch::Sender::new(mode);
        let (tell, seen) = watch::channel(Seen::default());
        let (modes, tell) = (mode.subscribe(), Arc::new(tell));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(Session::serve(stream, modes.clone(), tell.clone()));
            }
        });
        Sink { address: self.address, mode, seen, _serving: serving }
    }
}

impl Sink {
    pub fn new(mode: Mode) -> Self {
        Closed::new().open(mode)
    }

    /// Waits until the server has seen it.
    pub async fn until(&self, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), seen.wait_for(wanted)).await;
        match waited {
            Ok(seen) => seen.expect("still served").clone(),
            Err(_) => panic!("not seen in time: {:?}", *self.seen.borrow()),
        }
    }
}

struct Session {
    lines: Lines<BufReader<OwnedReadHalf>>,
    answers: OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
    seen: Arc<watch::Sender<Seen>>,
}

impl Session {
    async fn serve(stream: TcpStream, mode: watch::Receiver<Mode>, seen: Arc<watch::Sender<Seen>>) {
        seen.send_modify(|seen| {
            seen.connections += 1;
            seen.open += 1;
            seen.most_open = seen.most_open.max(seen.open);
        });
        let (reading, answers) = stream.into_split();
        let mut session = Session { lines: BufReader::new(reading).lines(), answers, mode, seen: seen.clone() };
        // A client that goes away ends its session: that is its right.
        session.talk().await;
        seen.send_modify(|seen| seen.open -= 1);
    }

    async fn say(&mut self, line: &str) -> Option<()> {
        self.answers.write_all(format!("{line}\r\n").as_bytes()).await.ok()
    }

    async fn talk(&mut self) -> Option<()> {
        self.say("220 sink.example ESMTP").await?;
        let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new() };
        loop {
            let line = self.lines.next_line().await.ok()??;
            let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            self.seen.send_modify(|seen| seen.commands.push(word.clone()));
            let mode = self.mode.borrow().clone();
            match (word.as_str(), mode) {
                (_, Mode::Deaf) => std::future::pending().await,
                ("EHLO", _) => self.say("250-sink.example\r\n250-AUTH PLAIN\r\n250 8BITMIME").await?,
                ("AUTH", mode) => {
                    self.seen.send_modify(|seen| seen.auth.push(line.clone()));
                    self.say(if mode == Mode::NoAuth { "535 no" } else { "235 welcome" }).await?;
                }
                ("MAIL", _) => {
                    mail.from = line;
                    self.say("250 sender ok").await?;
                }
                ("RCPT", Mode::Reply(reply)) => self.say(reply).await?,
                ("RCPT", _) => {
                    mail.to.push(line);
                    self.say("250 recipient ok").await?;
                }
                ("DATA", mode) => {
                    mail.data = self.read_data().await?;
                    let whole =
                        std::mem::replace(&mut mail, Mail { from: String::new(), to: vec![], data: String::new() });
                    self.seen.send_modify(|seen| seen.mails.push(whole));
                    match mode {
                        Mode::TakeAndHang => {
                            self.mode.wait_for(|mode| *mode != Mode::TakeAndHang).await.ok().map(drop)?
                        }
                        Mode::TakeAndClose => return None,
                        Mode::TakeAndLeave => {
                            self.say("250 taken").await?;
                            return None;
                        }
                        Mode::Accept | Mode::Reply(_) | Mode::Deaf | Mode::NoAuth => {}
                    }
                    self.say("250 taken").await?;
                }
                ("QUIT", _) => return self.say("221 bye").await,
                ("NOOP" | "RSET", _) => self.say("250 ok").await?,
                _ => self.say("502 what?").await?,
            }
        }
    }

    async fn read_data(&mut self) -> Option<String> {
        self.say("354 go on").await?;
        let mut data = String::new();
        loop {
            let line = self.lines.next_line().await.ok()??;
            if line == "." {
                return Some(data);
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
    }
}
