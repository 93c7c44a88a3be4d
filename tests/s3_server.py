"""S3 of this machine: moto's server, with a bucket."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import boto3
from conftest import free_port
from waiting import eventually


@contextmanager
def serve_s3(bucket: str) -> Iterator[str]:
    """Serve S3 with a bucket; gives its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert eventually(lambda: answers(f"{address}/moto-api/"), pause_s=0.1)
            client(address).create_bucket(Bucket=bucket)
            yield address
        finally:
            server.terminate()


def answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address, timeout=5):
        return True
    return False


def client(address: str):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=address, **keys)
