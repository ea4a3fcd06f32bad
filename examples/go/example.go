// A program of a company's own: pushes an order, reads it back, takes a downline as Arrow, watches an import.
//
//	example PUSHER VIP MEMBER      addresses as host:port
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	fasttree "example/stubs"
)

// A status that comes from the way, not from the answer, says nothing of what became of the call.
func mayTryAgain(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unknown:
		return true
	}
	return false
}

// withRetries makes a call until it has an answer: right for reads, and for pushes, whose ids count once.
func withRetries[T any](timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	wait, end := 50*time.Millisecond, time.Now().Add(30*time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		answer, err := call(ctx)
		cancel()
		if err == nil || !mayTryAgain(err) || time.Now().After(end) {
			return answer, err
		}
		time.Sleep(wait/2 + rand.N(wait/2))
		wait = min(2*wait, time.Second)
	}
}

// push pushes one update; its receipt. The same update may be pushed again whenever that is not sure.
func push(ctx context.Context, pusher fasttree.PusherServiceClient, update *fasttree.Update) (*fasttree.Receipt, error) {
	stream, err := pusher.PushUpdates(ctx)
	if err != nil {
		return nil, err
	}
	request := &fasttree.PushUpdatesRequest{Updates: []*fasttree.Update{update}}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv says why
		return nil, err
	}
	response, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	receipt := response.Receipts[0]
	if receipt.Code != 0 {
		return nil, fmt.Errorf("%s was not taken: code %d, %s", receipt.UpdateId, receipt.Code, receipt.Message)
	}
	return receipt, nil
}

// downline is an Arrow IPC stream: the bytes of all messages, one after another.
func downline(ctx context.Context, reports fasttree.ReportServiceClient, memberID string) ([]byte, error) {
	request := &fasttree.StreamDownlineRequest{MemberId: memberID, Format: fasttree.RowFormat_ROW_FORMAT_ARROW}
	stream, err := reports.StreamDownline(ctx, request)
	if err != nil {
		return nil, err
	}
	var parts bytes.Buffer
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return parts.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		parts.Write(part.Arrow)
	}
}

func run(pusherAddress, vipAddress, memberID string) error {
	toPusher, err := grpc.NewClient(pusherAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer toPusher.Close()
	toVIP, err := grpc.NewClient(vipAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer toVIP.Close()
	pusher, reports := fasttree.NewPusherServiceClient(toPusher), fasttree.NewReportServiceClient(toVIP)

	// An update's id is the source's own name for it, an order number, say: made once, never anew for a retry.
	order := &fasttree.Update{
		UpdateId: fmt.Sprintf("example-go-%d-%d", time.Now().UnixNano(), os.Getpid()),
		Change:   &fasttree.Update_VolumePosted{VolumePosted: &fasttree.VolumePosted{MemberId: memberID, AmountHundredths: 1250}},
	}
	pushed := func(ctx context.Context) (*fasttree.Receipt, error) { return push(ctx, pusher, order) }
	receipt, err := withRetries(10*time.Second, pushed)
	if err != nil {
		return err
	}
	fmt.Printf("pushed %s: position %d\n", receipt.UpdateId, receipt.Position)
	again, err := withRetries(10*time.Second, pushed)
	if err != nil {
		return err
	}
	if again.Position != receipt.Position || !again.Duplicate {
		return fmt.Errorf("pushed again: position %d, duplicate %t", again.Position, again.Duplicate)
	}
	fmt.Println("pushed again: counted once")

	// Whichever node answers waits until it has that position.
	options := &fasttree.ReportOptions{MinPosition: receipt.Position}
	answer, err := withRetries(5*time.Second, func(ctx context.Context) (*fasttree.GetMemberResponse, error) {
		return reports.GetMember(ctx, &fasttree.GetMemberRequest{MemberId: memberID, Options: options})
	})
	if err != nil {
		return err
	}
	if answer.AsOf.Position < receipt.Position {
		return fmt.Errorf("as of position %d", answer.AsOf.Position)
	}
	fmt.Printf("member %s: PV %.2f\n", answer.Member.MemberId, float64(answer.Member.PvHundredths)/100)

	parts, err := withRetries(60*time.Second, func(ctx context.Context) ([]byte, error) {
		return downline(ctx, reports, memberID)
	})
	if err != nil {
		return err
	}
	rows, err := ipc.NewReader(bytes.NewReader(parts))
	if err != nil {
		return err
	}
	defer rows.Release()
	count, names := int64(0), []string{}
	for _, field := range rows.Schema().Fields()[:3] {
		names = append(names, field.Name)
	}
	for rows.Next() {
		count += rows.RecordBatch().NumRows()
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	fmt.Printf("downline: %d rows of %s, ...\n", count, strings.Join(names, ", "))

	watched, err := withRetries(60*time.Second, func(ctx context.Context) (*fasttree.ImportStatus, error) {
		watching, err := pusher.WatchImport(ctx, &fasttree.WatchImportRequest{}) // 0: the newest
		if err != nil {
			return nil, err
		}
		response, err := watching.Recv() // the call ends with its context
		return response.GetStatus(), err
	})
	if err != nil {
		return err
	}
	fmt.Printf("import %d: %s\n", watched.Manifest.ImportId, watched.State)
	return nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: example PUSHER VIP MEMBER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
