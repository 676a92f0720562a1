//! patio-adapter
