//! How two filters relate: containment and overlap.
