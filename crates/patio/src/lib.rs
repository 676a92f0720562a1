//! patio
