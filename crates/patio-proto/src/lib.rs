//! patio-proto
