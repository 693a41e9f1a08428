#include "pipeline/solved_linear.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "solver/solution_bytes.h"

namespace coldpress {

void put_solved(const SolvedLinear& solved, ByteWriter* out) {
  out->put(solved.bound);
  out->put(solved.tokens);
  out->put_text(solved.policy);
  out->put_bytes(solution_to_bytes(solved.solution));
}

Result<SolvedLinear> take_solved(ByteReader* in, const GridKind& kind, const std::string& where) {
  SolvedLinear solved;
  solved.bound = in->take<double>();
  solved.tokens = in->take<int64_t>();
  solved.policy = in->take_text();
  COLDPRESS_ASSIGN_OR_RETURN(solved.solution,
                             solution_from_bytes(in->take_bytes(in->remaining()), kind, where));
  return solved;
}

Status share_solved(int owner, const GridKind& kind, const std::string& where, Comm& comm,
                    SolvedLinear* solved) {
  if (comm.size() == 1) return {};
  std::vector<std::byte> bytes;
  if (comm.rank() == owner) {
    ByteWriter out;
    put_solved(*solved, &out);
    bytes = out.take();
  }
  COLDPRESS_RETURN_IF_ERROR(comm.broadcast(owner, &bytes));
  if (comm.rank() == owner) return {};
  ByteReader in(bytes);
  COLDPRESS_ASSIGN_OR_RETURN(*solved, take_solved(&in, kind, where));
  return {};
}

}  // namespace coldpress
