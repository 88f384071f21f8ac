"""Amazon Bedrock: Converse, InvokeModel, and how AWS wants requests signed."""
