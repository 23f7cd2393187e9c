//! What goes over the wire: the .proto files with the code made from them, and the problem document
//! that every HTTP error is.

pub mod problem;

pub use problem::Problem;
