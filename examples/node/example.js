// A program of a company's own: pushes an order, reads it back, takes a downline as Arrow, watches an import.
//
//   example.js PROTO PUSHER VIP MEMBER      the folder of the .proto files, addresses as host:port

const assert = require('assert');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const {tableFromIPC} = require('apache-arrow');

const [proto, pusherAddress, vipAddress, memberId] = process.argv.slice(2);
const form = {keepCase: true, longs: String, enums: String, defaults: true, includeDirs: [proto]};
const files = ['fasttree/v1/pusher.proto', 'fasttree/v1/report.proto'];
const {PusherService, ReportService} = grpc.loadPackageDefinition(loader.loadSync(files, form)).fasttree.v1;
const plain = grpc.credentials.createInsecure();
const pusher = new PusherService(pusherAddress, plain);
const reports = new ReportService(vipAddress, plain);

// A status that comes from the way, not from the answer, says nothing of what became of the call.
const TRY_AGAIN = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.UNKNOWN];
const inSeconds = (seconds) => ({deadline: new Date(Date.now() + 1000 * seconds)});

// Makes a call until it has an answer: right for reads, and for pushes, whose ids count once.
async function withRetries(call, patienceS = 30) {
  const end = Date.now() + 1000 * patienceS;
  for (let waitMs = 50; ; waitMs = Math.min(2 * waitMs, 1000)) {
    try {
      return await call();
    } catch (error) {
      if (!TRY_AGAIN.includes(error.code) || Date.now() > end) throw error;
      await new Promise((done) => setTimeout(done, waitMs * (0.5 + Math.random() / 2)));
    }
  }
}

// Pushes one update; its receipt. The same update may be pushed again whenever that is not sure.
function push(update) {
  return new Promise((done, failed) => {
    const stream = pusher.PushUpdates(inSeconds(10));
    stream.on('error', failed);
    stream.on('data', ({receipts: [receipt]}) => {
      stream.end();
      if (receipt.code) failed(new Error(`${receipt.update_id} was not taken: code ${receipt.code}, ${receipt.message}`));
      done(receipt);
    });
    stream.write({updates: [update]});
  });
}

const getMember = (request) =>
  new Promise((done, failed) =>
    reports.GetMember(request, inSeconds(5), (error, answer) => (error ? failed(error) : done(answer))));

const streamed = (request) =>
  new Promise((done, failed) => {
    const parts = [];
    const rows = reports.StreamDownline(request, inSeconds(60));
    rows.on('data', (part) => parts.push(part.arrow));
    rows.on('end', () => done(Buffer.concat(parts)));
    rows.on('error', failed);
  });

const watched = () =>
  new Promise((done, failed) => {
    const watching = pusher.WatchImport({}, inSeconds(60)); // 0: the newest
    watching.once('data', ({status}) => {
      watching.cancel();
      done(status);
    });
    watching.on('error', (error) => (error.code === grpc.status.CANCELLED ? undefined : failed(error)));
  });

async function main() {
  // An update's id is the source's own name for it, an order number, say: made once, never anew for a retry.
  const order = {
    update_id: `example-node-${process.hrtime.bigint()}-${process.pid}`,
    volume_posted: {member_id: memberId, amount_hundredths: 1250},
  };
  const receipt = await withRetries(() => push(order));
  console.log(`pushed ${receipt.update_id}: position ${receipt.position}`);
  const again = await withRetries(() => push(order));
  assert.deepEqual([again.position, again.duplicate], [receipt.position, true]);
  console.log('pushed again: counted once');

  // Whichever node answers waits until it has that position.
  const {as_of, member} = await withRetries(() =>
    getMember({member_id: memberId, options: {min_position: receipt.position}}));
  assert(BigInt(as_of.position) >= BigInt(receipt.position));
  console.log(`member ${member.member_id}: PV ${(Number(member.pv_hundredths) / 100).toFixed(2)}`);

  const bytes = await withRetries(() => streamed({member_id: memberId, format: 'ROW_FORMAT_ARROW'}));
  const table = tableFromIPC(bytes);
  const names = table.schema.fields.slice(0, 3).map((field) => field.name);
  console.log(`downline: ${table.numRows} rows of ${names.join(', ')}, ...`);

  const status = await withRetries(watched);
  console.log(`import ${status.manifest.import_id}: ${status.state}`);
  pusher.close();
  reports.close();
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
