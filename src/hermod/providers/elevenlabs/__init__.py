"""ElevenLabs: speech and transcriptions."""
