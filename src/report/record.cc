#include "report/record.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/json.h"

namespace coldpress {
namespace {

const char* action_of(ExportedTensor::How how) {
  switch (how) {
    case ExportedTensor::How::kQuantised:
      return "quantised";
    case ExportedTensor::How::kCopied:
      return "copied";
    case ExportedTensor::How::kConverted:
      return "converted";
    case ExportedTensor::How::kDropped:
      return "dropped";
  }
  return "";
}

}  // namespace

void record_output(const std::vector<ExportedTensor>& output, Json* manifest) {
  std::map<std::string, std::vector<const ExportedTensor*>> stored;
  Json added = Json::array();
  for (const ExportedTensor& tensor : output) {
    if (tensor.source_name.empty()) {
      added.push_back({{"name", tensor.name}, {"stored_type", tensor.stored_type}});
    } else {
      stored[tensor.source_name].push_back(&tensor);
    }
  }
  std::set<std::string> rows;
  Json kept = Json::array();
  Json dropped = Json::array();
  for (Json& row : (*manifest)["tensors"]) {
    const auto found = stored.find(row["name"].get<std::string>());
    COLDPRESS_CHECK(found != stored.end());
    const ExportedTensor& tensor = *found->second.front();
    rows.insert(tensor.source_name);
    if (tensor.how == ExportedTensor::How::kDropped) {
      dropped.push_back(
          {{"name", row["name"]}, {"shape", row["shape"]}, {"reason", tensor.reason}});
      continue;
    }
    row["action"] = action_of(tensor.how);
    row["stored_name"] = tensor.name;
    if (found->second.size() > 1) row["stored_name"] = Json::array();
    for (const ExportedTensor* part : found->second) {
      if (found->second.size() > 1) row["stored_name"].push_back(part->name);
    }
    row["stored_type"] = tensor.stored_type;
    kept.push_back(std::move(row));
  }
  // Parts of packed weights are no rows of their own.
  for (const ExportedTensor& tensor : output) {
    if (tensor.how != ExportedTensor::How::kDropped || rows.contains(tensor.source_name)) continue;
    dropped.push_back(
        {{"name", tensor.source_name}, {"shape", tensor.shape}, {"reason", tensor.reason}});
  }
  (*manifest)["tensors"] = std::move(kept);
  (*manifest)["dropped"] = std::move(dropped);
  (*manifest)["added"] = std::move(added);
}

}  // namespace coldpress
