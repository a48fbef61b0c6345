"""Private keys where they live: OpenSSH key files, PKCS#11 tokens, ssh-agent."""
