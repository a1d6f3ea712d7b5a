//! The promises suite.
