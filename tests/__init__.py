"""Tests mirror the tree; they go through real MCP clients to a fake AWS."""
