// A program of a company's own: pushes an order, reads it back, takes a downline as Arrow, watches an import.
//
//   Example PUSHER VIP MEMBER      addresses as host:port

import fasttree.v1.PusherServiceGrpc;
import fasttree.v1.PusherServiceGrpc.PusherServiceBlockingStub;
import fasttree.v1.PusherServiceGrpc.PusherServiceStub;
import fasttree.v1.Pusher.ImportStatus;
import fasttree.v1.Pusher.PushUpdatesRequest;
import fasttree.v1.Pusher.PushUpdatesResponse;
import fasttree.v1.Pusher.Receipt;
import fasttree.v1.Pusher.WatchImportRequest;
import fasttree.v1.Report.GetMemberRequest;
import fasttree.v1.Report.GetMemberResponse;
import fasttree.v1.Report.ReportOptions;
import fasttree.v1.Report.RowFormat;
import fasttree.v1.Report.StreamDownlineRequest;
import fasttree.v1.Report.StreamDownlineResponse;
import fasttree.v1.ReportServiceGrpc;
import fasttree.v1.Types.Update;
import fasttree.v1.Types.VolumePosted;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.types.pojo.Field;

public final class Example {
  // A status that comes from the way, not from the answer, says nothing of what became of the call.
  private static final Set<Status.Code> TRY_AGAIN =
      EnumSet.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED, Status.Code.UNKNOWN);

  // Makes a call until it has an answer: right for reads, and for pushes, whose ids count once.
  static <T> T withRetries(Supplier<T> call) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    for (long waitMs = 50; ; waitMs = Math.min(2 * waitMs, 1000)) {
      try {
        return call.get();
      } catch (StatusRuntimeException error) {
        if (!TRY_AGAIN.contains(error.getStatus().getCode()) || System.nanoTime() > end) throw error;
        Thread.sleep(ThreadLocalRandom.current().nextLong(waitMs / 2, waitMs + 1));
      }
    }
  }

  // Pushes one update; its receipt. The same update may be pushed again whenever that is not sure.
  static Receipt push(PusherServiceStub pusher, Update update) {
    CompletableFuture<PushUpdatesResponse> answer = new CompletableFuture<>();
    StreamObserver<PushUpdatesRequest> stream =
        pusher.withDeadlineAfter(10, TimeUnit.SECONDS).pushUpdates(new StreamObserver<>() {
          @Override public void onNext(PushUpdatesResponse response) { answer.complete(response); }
          @Override public void onError(Throwable error) { answer.completeExceptionally(error); }
          @Override public void onCompleted() { answer.completeExceptionally(Status.UNAVAILABLE.asRuntimeException()); }
        });
    stream.onNext(PushUpdatesRequest.newBuilder().addUpdates(update).build());
    try {
      Receipt receipt = answer.join().getReceipts(0);
      stream.onCompleted();
      if (receipt.getCode() != 0) {
        throw new IllegalStateException(update.getUpdateId() + " was not taken: code " + receipt.getCode() + ", " + receipt.getMessage());
      }
      return receipt;
    } catch (CompletionException error) {
      throw Status.fromThrowable(error.getCause()).asRuntimeException();
    }
  }

  // An Arrow IPC stream: the bytes of all messages, one after another.
  static byte[] downline(ReportServiceGrpc.ReportServiceBlockingStub reports, String memberId) {
    StreamDownlineRequest request =
        StreamDownlineRequest.newBuilder().setMemberId(memberId).setFormat(RowFormat.ROW_FORMAT_ARROW).build();
    ByteArrayOutputStream parts = new ByteArrayOutputStream();
    Iterator<StreamDownlineResponse> stream = reports.withDeadlineAfter(60, TimeUnit.SECONDS).streamDownline(request);
    stream.forEachRemaining(part -> parts.writeBytes(part.getArrow().toByteArray()));
    return parts.toByteArray();
  }

  static void run(ManagedChannel toPusher, ManagedChannel toVip, String memberId) throws InterruptedException, IOException {
    PusherServiceStub pusher = PusherServiceGrpc.newStub(toPusher);
    PusherServiceBlockingStub watcher = PusherServiceGrpc.newBlockingStub(toPusher);
    ReportServiceGrpc.ReportServiceBlockingStub reports = ReportServiceGrpc.newBlockingStub(toVip);

    // An update's id is the source's own name for it, an order number, say: made once, never anew for a retry.
    Update order = Update.newBuilder()
        .setUpdateId("example-java-" + System.currentTimeMillis() + "-" + ProcessHandle.current().pid())
        .setVolumePosted(VolumePosted.newBuilder().setMemberId(memberId).setAmountHundredths(1250))
        .build();
    Receipt receipt = withRetries(() -> push(pusher, order));
    System.out.printf("pushed %s: position %d%n", receipt.getUpdateId(), receipt.getPosition());
    Receipt again = withRetries(() -> push(pusher, order));
    if (again.getPosition() != receipt.getPosition() || !again.getDuplicate()) {
      throw new IllegalStateException("pushed again: " + again);
    }
    System.out.println("pushed again: counted once");

    // Whichever node answers waits until it has that position.
    GetMemberRequest request = GetMemberRequest.newBuilder()
        .setMemberId(memberId)
        .setOptions(ReportOptions.newBuilder().setMinPosition(receipt.getPosition()))
        .build();
    GetMemberResponse answer = withRetries(() -> reports.withDeadlineAfter(5, TimeUnit.SECONDS).getMember(request));
    if (answer.getAsOf().getPosition() < receipt.getPosition()) throw new IllegalStateException("as of " + answer.getAsOf());
    double pv = answer.getMember().getPvHundredths() / 100.0;
    System.out.printf(Locale.ROOT, "member %s: PV %.2f%n", answer.getMember().getMemberId(), pv);

    byte[] parts = withRetries(() -> downline(reports, memberId));
    try (RootAllocator memory = new RootAllocator();
        ArrowStreamReader rows = new ArrowStreamReader(new ByteArrayInputStream(parts), memory)) {
      String names = rows.getVectorSchemaRoot().getSchema().getFields().stream()
          .limit(3).map(Field::getName).collect(Collectors.joining(", "));
      long count = 0;
      while (rows.loadNextBatch()) count += rows.getVectorSchemaRoot().getRowCount();
      System.out.printf("downline: %d rows of %s, ...%n", count, names);
    }

    ImportStatus status = withRetries(() -> // 0: the newest
        watcher.withDeadlineAfter(60, TimeUnit.SECONDS).watchImport(WatchImportRequest.getDefaultInstance()).next().getStatus());
    System.out.printf("import %d: %s%n", status.getManifest().getImportId(), status.getState());
  }

  public static void main(String[] arguments) throws InterruptedException, IOException {
    ManagedChannel toPusher = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    ManagedChannel toVip = Grpc.newChannelBuilder(arguments[1], InsecureChannelCredentials.create()).build();
    try {
      run(toPusher, toVip, arguments[2]);
    } finally {
      toPusher.shutdownNow();
      toVip.shutdownNow();
    }
  }
}
