#include "report/record.h"

#include <gtest/gtest.h>

#include "io/json.h"

namespace coldpress {
namespace {

Json row(const std::string& name) {
  return {{"name", name}, {"action", "copied"}, {"shape", {2, 2}}, {"stored_type", "F32"}};
}

TEST(RecordOutput, EveryTensorOfTheSourceIsStoredOrDroppedWithAReason) {
  Json manifest = {{"tensors", {row("a"), row("b"), row("c")}}, {"dropped", Json::array()}};
  record_output({{"c", "c2", "F16", ExportedTensor::How::kConverted},
                 {"a", "a", "F16", ExportedTensor::How::kQuantised},
                 {"b", "", "", ExportedTensor::How::kDropped, "no place for it"},
                 {"", "factors", "F32", ExportedTensor::How::kConverted}},
                &manifest);
  ASSERT_EQ(manifest["tensors"].size(), 2u);
  EXPECT_EQ(manifest["tensors"][0]["name"], "a");
  EXPECT_EQ(manifest["tensors"][0]["action"], "quantised");
  EXPECT_EQ(manifest["tensors"][0]["stored_type"], "F16");
  EXPECT_EQ(manifest["tensors"][1]["stored_name"], "c2");
  EXPECT_EQ(manifest["tensors"][1]["action"], "converted");
  ASSERT_EQ(manifest["dropped"].size(), 1u);
  EXPECT_EQ(manifest["dropped"][0]["name"], "b");
  EXPECT_EQ(manifest["dropped"][0]["reason"], "no place for it");
  ASSERT_EQ(manifest["added"].size(), 1u);
  EXPECT_EQ(manifest["added"][0]["name"], "factors");
}

TEST(RecordOutputDeathTest, AnUnaccountedTensorIsABug) {
  Json manifest = {{"tensors", {row("a")}}, {"dropped", Json::array()}};
  EXPECT_DEATH(record_output({}, &manifest), "");
}

}  // namespace
}  // namespace coldpress
