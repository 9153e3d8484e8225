-- GET one path with many access tokens in turn. Arguments: the path, a file with one token per line.
local requests, turn = {}, 0

function init(args)
   for token in io.lines(args[2]) do
      requests[#requests + 1] = wrk.format("GET", args[1], { ["Authorization"] = "Bearer " .. token })
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\n{"seconds": %f, "answers": %d, "bad": %d, "faults": %d, "timeouts": %d, "p50": %f, "p90": %f, "p99": %f, "max": %f}\n',
      summary.duration / 1e6, summary.requests, errors.status, errors.connect + errors.read + errors.write,
      errors.timeout, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
      latency.max / 1e3))
end
