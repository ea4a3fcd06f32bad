"""A program of a company's own: pushes an order, reads it back, takes a downline as Arrow, watches an import.

example.py PUSHER VIP MEMBER      addresses as host:port
"""

import random
import sys
import time

import grpc
import pyarrow.ipc

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, report_pb2, report_pb2_grpc, types_pb2

# A status that comes from the way, not from the answer, says nothing of what became of the call.
TRY_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}


def with_retries(call, *, patience_s=30.0):
    """Makes a call until it has an answer: right for reads, and for pushes, whose ids count once."""
    wait_s, end_s = 0.05, time.monotonic() + patience_s
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in TRY_AGAIN or time.monotonic() > end_s:
                raise
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, 1.0)


def push(pusher, update):
    """Pushes one update; returns its receipt. The same update may be pushed again whenever that is not sure."""
    request = pusher_pb2.PushUpdatesRequest(updates=[update])
    response = next(pusher.PushUpdates(iter([request]), timeout=10))
    receipt = response.receipts[0]
    if receipt.code:
        raise SystemExit(f"{receipt.update_id} was not taken: code {receipt.code}, {receipt.message}")
    return receipt


def main(pusher_address, vip_address, member_id):
    with grpc.insecure_channel(pusher_address) as to_pusher, grpc.insecure_channel(vip_address) as to_vip:
        pusher, reports = pusher_pb2_grpc.PusherServiceStub(to_pusher), report_pb2_grpc.ReportServiceStub(to_vip)

        # An update's id is the source's own name for it, an order number, say: made once, never anew for a retry.
        order = types_pb2.Update(update_id=f"example-python-{time.time_ns()}")
        order.volume_posted.member_id = member_id
        order.volume_posted.amount_hundredths = 1250
        receipt = with_retries(lambda: push(pusher, order))
        print(f"pushed {receipt.update_id}: position {receipt.position}")
        again = with_retries(lambda: push(pusher, order))
        assert (again.position, again.duplicate) == (receipt.position, True)
        print("pushed again: counted once")

        # Whichever node answers waits until it has that position.
        options = report_pb2.ReportOptions(min_position=receipt.position)
        request = report_pb2.GetMemberRequest(member_id=member_id, options=options)
        answer = with_retries(lambda: reports.GetMember(request, timeout=5))
        assert answer.as_of.position >= receipt.position
        print(f"member {answer.member.member_id}: PV {answer.member.pv_hundredths / 100:.2f}")

        request = report_pb2.StreamDownlineRequest(member_id=member_id, format=report_pb2.ROW_FORMAT_ARROW)
        parts = with_retries(lambda: b"".join(part.arrow for part in reports.StreamDownline(request, timeout=60)))
        table = pyarrow.ipc.open_stream(parts).read_all()
        print(f"downline: {table.num_rows} rows of {', '.join(table.column_names[:3])}, ...")

        watching = pusher.WatchImport(pusher_pb2.WatchImportRequest(), timeout=60)  # 0: the newest
        status = next(watching).status
        watching.cancel()
        print(f"import {status.manifest.import_id}: {pusher_pb2.ImportState.Name(status.state)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
