"""Amazon EC2: volumes and their snapshots.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from services._ec2 import Filters, MaxResults, Rows, Token, dry, name_of, page_of
from services.base import READ, WRITE, AWSModel, AWSServiceBase, NewTags, Tags, Target, Timestamp, to_aws_tags, tool

VolumeId = Annotated[str, StringConstraints(pattern=r"^vol-[0-9a-f]{8,32}$")]


class Volume(AWSModel):
    volume_id: str
    name: str | None = None
    state: str
    size: int
    volume_type: str | None = None
    encrypted: bool | None = None
    availability_zone: str | None = None
    attached_to: list[str] = []
    create_time: Timestamp | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Volume:
        """Return a volume's row; its size is in GiB."""
        attached = [item["InstanceId"] for item in row.get("Attachments", []) if "InstanceId" in item]
        return cls.model_validate({**row, "Name": name_of(row), "AttachedTo": attached})


class Volumes(Rows):
    volumes: list[Volume]


class Snapshot(AWSModel):
    """A snapshot; one whose `storage_tier` is archive is restored before a volume is made of it."""

    snapshot_id: str
    volume_id: str | None = None
    state: str
    state_message: str | None = None
    storage_tier: str | None = None
    progress: str | None = None
    start_time: Timestamp | None = None
    volume_size: int | None = None
    encrypted: bool | None = None
    description: str | None = None
    tags: Tags = {}


class StartedSnapshot(Snapshot):
    """A snapshot that was started; it has no id on a dry run."""

    snapshot_id: str | None = None  # type: ignore[assignment]  # the row's is required, as AWS's is
    state: str | None = None  # type: ignore[assignment]  # likewise
    dry_run: bool | None = None


class Snapshots(Rows):
    snapshots: list[Snapshot]


class EC2VolumesService(AWSServiceBase):
    """Volumes and snapshots."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(READ, "ec2:DescribeVolumes")
    def describe_volumes(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Volumes:
        """List volumes and what they are attached to."""
        page = page_of(self.client(target), "describe_volumes", filters, max_results, next_token)
        return Volumes.of([Volume.of(row) for row in page["Volumes"]], page)

    @tool(READ, "ec2:DescribeSnapshots")
    def describe_snapshots(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Snapshots:
        """List the account's own snapshots."""
        page = page_of(self.client(target), "describe_snapshots", filters, max_results, next_token, OwnerIds=["self"])
        return Snapshots.of([Snapshot.model_validate(row) for row in page["Snapshots"]], page)

    @tool(WRITE, "ec2:CreateSnapshot", "ec2:CreateTags", resource="volume_id")
    def create_snapshot(
        self,
        volume_id: VolumeId,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=255)] | None = None,
        tags: NewTags | None = None,
        dry_run: bool = False,
    ) -> StartedSnapshot:
        """Start a snapshot of a volume. AWS has no client token here: on OutcomeUnknown list snapshots first."""
        request: dict[str, Any] = {"VolumeId": volume_id, "Description": description or "", "DryRun": dry_run}
        if tags:
            request["TagSpecifications"] = [{"ResourceType": "snapshot", "Tags": to_aws_tags(tags)}]
        client = self.client(target)
        made: dict[str, Any] = {}
        if dry(lambda: made.update(client.create_snapshot(**request)), dry_run):
            return StartedSnapshot(volume_id=volume_id, dry_run=True)
        return StartedSnapshot.model_validate({**made, "SnapshotId": made["SnapshotId"], "State": made["State"]})
