//! What the tests need beyond Rust and a C compiler.

/// Fails with the install line where nats-server is neither there nor to be fetched.
#[tokio::test]
async fn prerequisites() {
    if let Err(error) = spillway_natsd::testing::nats_server().await {
        panic!("\n{error}\n");
    }
}
